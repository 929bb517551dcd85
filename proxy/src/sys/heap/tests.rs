use super::*;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a layout")
}

/// Blocks that this thread keeps of the class of a size.
fn kept(size: usize) -> usize {
    let class = class(layout(size, 1)).expect("a class");
    LISTS.with(|lists| lists[class].count.get())
}

/// Runs a test in a thread that keeps blocks.
fn keeping(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        let _keeping = keep();
        test();
    };
    std::thread::spawn(run).join().expect("the test's thread");
}

#[test]
fn a_list_holds_what_is_asked_of_it() {
    for size in 1..=LARGEST_BYTES {
        let class = class(layout(size, 8)).expect("small");
        assert!(class < CLASSES && block_bytes(class) >= size, "{size}");
        assert!(block_bytes(class) - size < STEP_BYTES || size < SMALLEST_BYTES, "{size}");
        assert_eq!(block(class).size(), block_bytes(class));
    }
    assert_eq!(class(layout(LARGEST_BYTES + 1, 8)), None);
    assert_eq!(class(layout(64, 32)), None);
}

#[test]
fn what_is_freed_is_the_next_of_its_size() {
    keeping(|| unsafe {
        let first = Heap.alloc(layout(100, 8));
        Heap.dealloc(first, layout(100, 8));
        assert_eq!(Heap.alloc(layout(104, 16)), first);
        let other = Heap.alloc(layout(100, 8));
        assert_ne!(other, first);
        Heap.dealloc(first, layout(104, 16));
        Heap.dealloc(other, layout(100, 8));
    });
}

#[test]
fn no_more_is_kept_than_the_limit_and_a_trim_gives_half_back() {
    keeping(|| unsafe {
        let most = HEAP_KEPT_BYTES_MAX / block_bytes(class(layout(1_000, 8)).expect("small"));
        let blocks: Vec<usize> = (0..most + 10).map(|_| Heap.alloc(layout(1_000, 8)) as usize).collect();
        for block in blocks {
            Heap.dealloc(block as *mut u8, layout(1_000, 8));
        }
        assert_eq!(kept(1_000), most);
        trim();
        assert_eq!(kept(1_000), most / 2);
    });
}

#[test]
fn a_thread_that_was_not_asked_keeps_nothing() {
    let test = || unsafe {
        Heap.dealloc(Heap.alloc(layout(72, 8)), layout(72, 8));
        assert_eq!(kept(72), CLOSED);
        assert!(LISTS.with(|lists| lists.iter().all(|list| list.first.get().is_null())));
        {
            let _keeping = keep();
            Heap.dealloc(Heap.alloc(layout(72, 8)), layout(72, 8));
            assert!(kept(72) > 0);
        }
        assert_eq!(kept(72), CLOSED);
        assert!(LISTS.with(|lists| lists.iter().all(|list| list.first.get().is_null())));
    };
    std::thread::spawn(test).join().expect("the test's thread");
}

#[test]
fn what_grows_and_shrinks_keeps_its_bytes() {
    keeping(|| unsafe {
        let mut block = Heap.alloc(layout(10, 1));
        let mut size = 10;
        block.write_bytes(7, size);
        for wanted in [24, 25, 500, LARGEST_BYTES, LARGEST_BYTES + 1, 100_000, 2_000, 30, 3] {
            block = Heap.realloc(block, layout(size, 1), wanted);
            let common = size.min(wanted);
            assert!(std::slice::from_raw_parts(block, common).iter().all(|&byte| byte == 7), "{wanted}");
            block.write_bytes(7, wanted);
            size = wanted;
        }
        Heap.dealloc(block, layout(size, 1));
        let zeroed = Heap.alloc_zeroed(layout(20, 1));
        assert!(std::slice::from_raw_parts(zeroed, 20).iter().all(|&byte| byte == 0));
        Heap.dealloc(zeroed, layout(20, 1));
    });
}
