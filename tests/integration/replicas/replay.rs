//! A replay whose replica is killed, or whose steps others do.

use serde_json::{Value, json};

use crate::replicas::blocking;
use crate::replicas::faults::replica;
use crate::support::client::{client, eventually};
use crate::support::postgres::{Session, server};
use crate::support::replay::{WEBHOOKS, is_under_way, reckon, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_on_in_another_replica() {
    let database = blocking(|| server().database());
    let url = database.url();
    let (_first_place, first) = replica(&url).await;
    start(&first).await;
    is_under_way(&first, WEBHOOKS / 6).await;
    let session = blocking(|| Session::open(&url)).expect("connects");
    let ask = |sql: &str| blocking(|| session.ask(sql)).expect("is asked");
    // Holds the replay as another process does during a step, until the second replica has started.
    ask("BEGIN");
    ask("SELECT number FROM replays FOR UPDATE");
    let (_second_place, second) = replica(&url).await;
    ask("COMMIT");
    // From here on, both do its steps.
    is_under_way(&second, WEBHOOKS / 3).await;
    first.kill();
    reckon(&second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_is_answered_with_its_end_although_another_process_does_a_step() {
    let database = blocking(|| server().database());
    let (_place, replica) = replica(&database.url()).await;
    let session = blocking(|| Session::open(&database.url())).expect("connects");
    let ask = |sql: &str| blocking(|| session.ask(sql)).expect("is asked");
    // The replay is stored once the replica is stopped, so that it has not done the first step.
    ask("CREATE TABLE public.stopped ()");
    ask("CREATE FUNCTION hookbox.linger() RETURNS trigger LANGUAGE plpgsql AS '
         BEGIN
             WHILE NOT EXISTS (SELECT FROM public.stopped) LOOP PERFORM pg_sleep(0.01); END LOOP;
             RETURN NULL;
         END'");
    ask("CREATE TRIGGER linger AFTER INSERT ON replays FOR EACH ROW EXECUTE FUNCTION hookbox.linger()");
    let asked = json!({ "filter": { "source": "default" }, "dry_run": true });
    let starting = tokio::spawn(client().post(replica.url("/v1/replays")).json(&asked).send());
    eventually("the replay is being stored", async || {
        let sleeping = "SELECT 1 FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event = 'PgSleep'";
        (!ask(sleeping).is_empty()).then_some(())
    })
    .await;
    replica.freeze();
    ask("INSERT INTO public.stopped DEFAULT VALUES");
    // Holds the replay as another process does during a step.
    ask("BEGIN");
    eventually("the replay is stored", async || {
        (!ask("SELECT number FROM replays FOR UPDATE").is_empty()).then_some(())
    })
    .await;
    replica.wake();
    // In one message, so that the server ends the step in time, whatever this process does.
    ask("SELECT pg_sleep(0.2); COMMIT");
    let answer = starting.await.expect("runs").expect("answers");
    let replay = answer.json::<Value>().await.expect("is JSON");
    assert_eq!(replay["state"], "completed", "{replay}");
}
