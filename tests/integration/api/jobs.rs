//! What becomes of a webhook after it was accepted, with time driven by hand.

mod abandoned;
mod away;
mod by_hand;
mod failures;
mod set_back;
mod stops;
mod time;
