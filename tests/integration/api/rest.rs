//! REST, as a sender and an operator see it.

mod acceptance;
mod arrivals;
mod bodies;
mod browsers;
mod early_answers;
mod exact_body;
mod front;
mod heads;
mod keys;
mod limits;
mod lists;
mod looks;
mod metrics;
mod monitoring;
mod operations;
mod problems;
mod queries;
mod routes;
mod searches;
mod without_body;
