use std::time::Duration;

use super::*;

#[test]
fn an_outage_lasts_from_the_loss_to_the_next_answer_whatever_was_tried_between() {
    let at = Instant::now();
    let after = |ms| at + Duration::from_millis(ms);
    let mut feed = FeedStatus::default();
    assert!(feed.ended(at, "refused"), "said once");
    assert!(!feed.ended(at, "refused"));
    assert!(feed.answered(after(10)));
    assert_eq!(feed.last_outage_ms, None, "what never stood was not lost");
    assert!(!feed.answered(after(20)), "every answer but the first is no news");
    assert!(feed.ended(after(100), "gone"));
    assert!(feed.ended(after(150), "refused"));
    assert!(feed.answered(after(340)));
    assert_eq!((feed.last_outage_ms, feed.last_error.as_deref()), (Some(240), None));
}
