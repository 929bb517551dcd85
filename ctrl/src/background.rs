//! Work that nobody waits for, on threads that yield to those that somebody does.

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::sync::oneshot;

/// Niceness of such work: it gets a tenth of what a thread of the feed gets where both want a processor.
const NICENESS: i32 = 10;

/// Lets the calling thread yield to others from now on. There is no way back.
pub fn yield_to_others() {
    // Linux has priorities by thread. Where a profile forbids this, the thread works on as it did.
    let _ = setpriority_process(Some(gettid()), NICENESS);
}

/// Computes something on a thread of its own that yields to others; none if that thread cannot be started, or has panicked.
pub async fn compute<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        yield_to_others();
        let _ = done.send(work());
    });
    thread.ok()?;
    result.await.ok()
}
