use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{CATCH_UP, Reach};

#[test]
fn the_first_that_hears_of_the_server_wakes_the_others_and_they_catch_up_once() {
    let (reach, now) = (Reach::default(), Instant::now());
    reach.heard(now);
    assert_eq!(reach.catching_up(now), None, "it was never away");
    reach.lost();
    let mut others = pin!(reach.back());
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(others.as_mut().poll(&mut context), Poll::Pending);
    reach.heard(now);
    assert_eq!(others.as_mut().poll(&mut context), Poll::Ready(()));
    reach.heard(now + Duration::from_millis(100));
    assert_eq!(reach.catching_up(now), Some(now + CATCH_UP), "later news put nothing off");
    assert_eq!(reach.catching_up(now + CATCH_UP), None);
    assert_eq!(pin!(reach.back()).poll(&mut context), Poll::Pending, "it is there, and does not come back");
}
