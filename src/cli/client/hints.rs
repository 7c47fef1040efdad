//! Answers of hookbox name calls and parameters of REST. Commands name themselves and their flags instead.

/// What an answer says, and what a command says.
const INSTEAD: [(&str, &str); 10] = [
    ("GET /v1/routes, in gRPC ListRoutes, lists them", "`hookbox routes` lists them"),
    ("GET /v1/sources, in gRPC ListSources, lists them", "`hookbox sources` lists them"),
    ("GET /v1/replays, in gRPC ListReplays, lists them", "`hookbox replays` lists them"),
    ("GET /docs lists the paths", "check the path of the URL in --url or HOOKBOX_URL"),
    ("; send the header `Authorization: Bearer <token>` (in gRPC the metadata `authorization`)", ""),
    ("name one that it sees with `route`", "name one that it sees with --route"),
    ("the filter names no `source`, so it means all of them", "without --source, all of them are meant"),
    ("the filter names no `route`, so it means all of them", "without --route, all of them are meant"),
    (
        "`page_token` must be the `next_page_token` of the previous page",
        "--page-token must be the token that the list has named",
    ),
    ("`webhook_id` must be the UUID of a webhook", "--webhook must be the id of a webhook"),
];

/// The text of an answer in the words of the command line.
pub(super) fn for_commands(answer: &str) -> String {
    INSTEAD
        .iter()
        .fold(answer.to_owned(), |text, (of_answer, of_command)| text.replace(of_answer, of_command))
}
