//! Order, bounds and wake-ups of a mailbox.

use super::*;

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
fn a_waiting_runtime_is_woken_across_threads_and_back_pressure_holds() {
    let (sender, mut receiver) = mailbox(4);
    let producer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async move {
            for number in 0..1_000u32 {
                sender.send(number).await.expect("receiver lives");
            }
        });
    });
    let mut runtime =
        monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build().expect("epoll");
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
