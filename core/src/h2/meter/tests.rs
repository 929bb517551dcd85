//! Budgets on frames, and that what comes in pieces is metered as what comes whole.

use super::*;

const HEADERS: u8 = 1;

fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
    let length = (payload as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
    bytes.resize(bytes.len() + payload, 0);
    bytes
}

/// A client's, whose preface has come.
fn of_peer() -> Meter {
    let mut meter = Meter::of_client();
    assert_eq!(meter.inspect(PREFACE, Tick(1)), (PREFACE.len(), Ok(())));
    meter
}

/// Frames of this kind, one after the other at one moment, until one is refused; how many passed.
fn passed(meter: &mut Meter, kind: u8, flags: u8, payload: usize) -> (u32, Trip) {
    let bytes = frame(kind, flags, payload);
    for count in 0..1_000_000 {
        if let (good, Err(trip)) = meter.inspect(&bytes, Tick(1)) {
            assert_eq!(good, 0, "nothing of the frame is acted on");
            return (count, trip);
        }
    }
    panic!("no end");
}

#[test]
fn rates_have_a_limit() {
    for (kind, payload, most, trip) in [
        (3, 4, H2_RESETS_PER_S_MAX, Trip::RapidReset),
        (4, 0, H2_SETTINGS_PER_S_MAX, Trip::Settings),
        (6, 8, H2_PINGS_PER_S_MAX, Trip::Pings),
        (0, 0, H2_EMPTY_DATA_PER_S_MAX, Trip::EmptyData),
        (0x42, 0, H2_OTHER_FRAMES_PER_S_MAX, Trip::Others),
    ] {
        assert_eq!(passed(&mut of_peer(), kind, 0, payload), (most, trip));
        let mut slow = of_peer();
        for second in 0..100 {
            for _ in 0..most {
                let now = Tick(second * SECOND_NS);
                assert_eq!(slow.inspect(&frame(kind, 0, payload), now).1, Ok(()), "{trip}");
            }
        }
    }
}

#[test]
fn lives_have_a_limit_that_grows_with_use() {
    let mut meter = Meter::of_upstream();
    assert_eq!(passed(&mut meter, 8, 0, 4), (5, Trip::WindowUpdates));
    let mut meter = Meter::of_upstream();
    for _ in 0..10 {
        meter.inspect(&frame(HEADERS, END_HEADERS, 5), Tick(1)).1.unwrap();
        meter.data_sent();
    }
    assert_eq!(passed(&mut meter, 8, 0, 4), (5 + 2 * (10 + 100), Trip::WindowUpdates));
    let mut meter = Meter::of_upstream();
    for _ in 0..10 {
        meter.inspect(&frame(HEADERS, END_HEADERS, 5), Tick(1)).1.unwrap();
    }
    assert_eq!(passed(&mut meter, 2, 0, 5), (11 * 100, Trip::Priorities));
    let mut meter = of_peer();
    for turn in 0..H2_RESETS_MAX {
        meter.inspect(&frame(3, 0, 4), Tick(turn / 50 * SECOND_NS)).1.unwrap();
    }
    assert_eq!(meter.inspect(&frame(3, 0, 4), Tick(u64::MAX)).1, Err(Trip::RapidReset));
}

#[test]
fn data_that_ends_its_stream_is_not_empty_for_nothing() {
    let mut meter = Meter::of_upstream();
    for _ in 0..1_000 {
        assert_eq!(meter.inspect(&frame(0, END_STREAM, 0), Tick(1)).1, Ok(()));
    }
}

#[test]
fn a_header_block_has_few_frames_and_five_seconds() {
    let mut meter = Meter::of_upstream();
    meter.inspect(&frame(HEADERS, 0, 5), Tick(1)).1.unwrap();
    assert_eq!(passed(&mut meter, 9, 0, 0), (H2_CONTINUATIONS_MAX, Trip::Continuations));

    let mut meter = Meter::of_upstream();
    let head = frame(HEADERS, END_HEADERS, 20);
    meter.inspect(&head[..15], Tick(1)).1.unwrap();
    let due = Tick(1).plus_millis(H2_HEADER_BLOCK_MS);
    assert_eq!(meter.deadline(), due, "an end that was promised has not come yet");
    assert_eq!(meter.check_time(due), Err(Trip::SlowHeaders));
    meter.inspect(&head[15..], Tick(2)).1.unwrap();
    assert_eq!(meter.deadline(), Tick::NEVER);
}

#[test]
fn giving_up_early_is_no_abuse_while_most_calls_are_answered() {
    let mut meter = Meter::of_upstream();
    for turn in 0..1_000_u64 {
        meter.inspect(&frame(HEADERS, END_HEADERS, 5), Tick(1)).1.unwrap();
        if turn % 3 == 0 {
            meter.reset_unanswered().unwrap();
        }
    }
    let mut meter = Meter::of_upstream();
    let mut resets = 0;
    let trip = loop {
        meter.inspect(&frame(HEADERS, END_HEADERS, 5), Tick(1)).1.unwrap();
        resets += 1;
        if let Err(trip) = meter.reset_unanswered() {
            break trip;
        }
    };
    assert_eq!((resets, trip), (H2_RESETS_UNANSWERED_MIN + 1, Trip::RapidReset));
}

#[test]
fn resets_beyond_the_budget_are_set_against_answers() {
    let mut meter = Meter::of_client();
    meter.inspect(PREFACE, Tick(1)).1.unwrap();
    (0..300).for_each(|_| meter.answered());
    assert_eq!(passed(&mut meter, 3, 0, 4), (H2_RESETS_PER_S_MAX + 300, Trip::RapidReset));
    let mut meter = of_peer();
    (0..1_000_000).for_each(|_| meter.answered());
    let most = H2_RESETS_PER_S_MAX + H2_RESET_CREDIT_MAX as u32;
    assert_eq!(passed(&mut meter, 3, 0, 4), (most, Trip::RapidReset), "however long it was good");
    let mut meter = of_peer();
    for turn in 0..H2_RESETS_MAX + 1 {
        meter.answered();
        meter.inspect(&frame(3, 0, 4), Tick(turn / 50 * SECOND_NS)).1.unwrap();
    }
}

#[test]
fn pieces_are_metered_as_the_whole() {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(4, 0, 12));
    for _ in 0..5 {
        bytes.extend(frame(HEADERS, END_HEADERS, 30));
        bytes.extend(frame(0, END_STREAM, 100));
    }
    let good = bytes.len();
    bytes.extend((0..=H2_PINGS_PER_S_MAX).flat_map(|_| frame(6, 0, 8)));
    for size in [1, 2, 7, 9, 10, 64, bytes.len()] {
        let mut meter = Meter::of_client();
        let mut passed = 0;
        let mut trip = None;
        for piece in bytes.chunks(size) {
            let (count, spent) = meter.inspect(piece, Tick(1));
            passed += count;
            if let Err(it) = spent {
                trip = Some(it);
                break;
            }
        }
        assert_eq!(trip, Some(Trip::Pings), "in pieces of {size}");
        let before_last = good + 17 * H2_PINGS_PER_S_MAX as usize;
        assert!((before_last..before_last + 9).contains(&passed), "{passed} in pieces of {size}");
    }
}

#[test]
fn a_server_may_reset_what_it_was_asked() {
    let mut meter = Meter::of_upstream();
    for _ in 0..2 * H2_RESETS_MAX {
        assert_eq!(meter.inspect(&frame(3, 0, 4), Tick(1)).1, Ok(()));
    }
    for (kind, trip) in [(4, Trip::Settings), (6, Trip::Pings), (0, Trip::EmptyData), (0x42, Trip::Others)] {
        let payload = if kind == 6 { 8 } else { 0 };
        assert_eq!(passed(&mut Meter::of_upstream(), kind, 0, payload).1, trip);
    }
}

#[test]
fn data_that_was_sent_may_be_answered_by_pings() {
    let mut meter = Meter::of_upstream();
    for _ in 0..50 {
        meter.data_sent();
    }
    assert_eq!(passed(&mut meter, 6, 0, 8), (H2_PINGS_PER_S_MAX + 50, Trip::Pings));
}

#[test]
fn a_greeting_ends_with_the_whole_of_settings() {
    let mut meter = Meter::of_client();
    let greeting = [PREFACE, &frame(4, 0, 6)].concat();
    for (at, byte) in greeting.iter().enumerate() {
        assert!(!meter.is_greeted(), "after {at} bytes of {}", greeting.len());
        meter.inspect(std::slice::from_ref(byte), Tick(1)).1.unwrap();
    }
    assert!(meter.is_greeted());
}
