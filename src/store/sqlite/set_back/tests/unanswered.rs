//! A step back is stored, but its reply is lost.

use std::sync::mpsc;
use std::time::Duration;

use futures::FutureExt as _;

use super::shop::{HOUR, Shop};
use crate::domain::error::Reason;
use crate::store::{JobQueue as _, Store as _};

/// The result of a command. It panics in the writer after the commit if the caller has gone.
struct PanicsIfDropped;

impl Drop for PanicsIfDropped {
    fn drop(&mut self) {
        panic!("the fault of this test");
    }
}

#[tokio::test]
async fn a_step_back_that_was_stored_although_it_failed_is_applied_once() {
    let shop = Shop::new().await;
    let id = shop.accept("1", None).await;
    shop.fail(shop.claim().await, HOUR * 5).await;
    shop.clock.set_by(-HOUR);

    // While the writer is held, a batch fills up with the command that panics, and the step behind it.
    let (entered, is_held) = mpsc::channel();
    let (gate, opened) = mpsc::channel::<()>();
    let holding = shop.store.writer.run(move |_| {
        let _ = entered.send(());
        let _ = opened.recv();
        Ok(())
    });
    assert!(holding.now_or_never().is_none());
    is_held.recv_timeout(Duration::from_secs(30)).expect("the writer is held");
    assert!(shop.store.writer.run(|_| Ok(PanicsIfDropped)).now_or_never().is_none());
    let mut following = shop.store.follow_clock();
    assert!(following.as_mut().now_or_never().is_none());
    drop(gate);
    let lost = following.await.expect_err("its reply is lost");
    assert_eq!(lost.reason(), Reason::Internal);

    shop.store.follow_clock().await.expect("follows");
    assert_eq!(shop.due_in(&[id]).await, [HOUR * 5]);
    shop.store.close().await;
}
