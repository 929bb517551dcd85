//! Order, bounds and wake-ups of a mailbox.

use std::pin::pin;
use std::task::Wake;
use std::thread::Thread;

use super::*;

/// Wakes a thread that runs a future by parking, as any runtime does in the end.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn messages_come_out_in_order_and_the_bound_holds() {
    let (sender, mut receiver) = mailbox(2);
    assert_eq!(sender.try_send(1), Ok(()));
    assert_eq!(sender.try_send(2), Ok(()));
    assert_eq!(sender.try_send(3), Err(SendError::Full(3)));
    assert_eq!(receiver.try_recv(), Some(1));
    assert_eq!(sender.try_send(3), Ok(()));
    assert_eq!((receiver.try_recv(), receiver.try_recv(), receiver.try_recv()), (Some(2), Some(3), None));
}

#[test]
fn a_sender_learns_that_the_receiver_is_gone() {
    let (sender, receiver) = mailbox(2);
    drop(receiver);
    assert_eq!(sender.try_send(1), Err(SendError::Closed(1)));
}

#[test]
fn a_waiting_shard_is_woken_across_threads_and_back_pressure_holds() {
    for driver in [dromon_core::settings::Driver::Auto, dromon_core::settings::Driver::Epoll] {
        let (sender, mut receiver) = mailbox(4);
        let producer = std::thread::spawn(move || {
            block_on(async move {
                for number in 0..1_000u32 {
                    sender.send(number).await.expect("receiver lives");
                }
            });
        });
        let (mut runtime, _) = crate::sys::runtime::ShardRuntime::build(driver).expect("a driver");
        let got = runtime.block_on(async move {
            let mut got = Vec::new();
            while let Some(number) = receiver.recv().await {
                got.push(number);
            }
            got
        });
        producer.join().expect("producer");
        assert_eq!(got, (0..1_000).collect::<Vec<_>>());
    }
}
