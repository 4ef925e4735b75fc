//! Random bytes from the kernel, never weak and never for ever: a machine that has just booted a capture
//! kernel may not have seeded its generator yet. Waiting is done inside getrandom(2), because there
//! the kernel makes entropy of its own from timer jitter (Linux `drivers/char/random.c`,
//! `try_to_generate_entropy`); polling from outside would not start that.

use super::Error;
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A wait that is long enough: a kernel that makes entropy from timer jitter needs about a second, a machine
/// without a cycle counter may never be ready.
pub const ENTROPY_LIMIT: Duration = Duration::from_secs(60);

/// How to wait for the kernel's random number generator.
pub struct Entropy<'a> {
    /// Longest wait; [`ENTROPY_LIMIT`] unless there is a reason.
    pub limit: Duration,
    /// Gets what the user must hear of.
    pub notify: &'a mut dyn FnMut(&Notice<'_>),
}

/// What happens while a file key is made and wrapped, as a sentence for the console.
#[derive(Debug, thiserror::Error)]
pub enum Notice<'a> {
    /// The wait begins; at most so long.
    #[error("waiting for the kernel's random number generator, at most {} s", .0.as_secs())]
    Waiting(Duration),
    /// A plugin could not wrap the file key: its recipients cannot open the file.
    #[error("{0}; encrypting to the other recipients alone")]
    LeftOut(&'a Error),
}

impl Entropy<'_> {
    /// Returns once the generator is ready; from then on no request of this boot blocks.
    ///
    /// # Errors
    /// [`Error::NoEntropy`] after the limit; [`Error::Io`] when the kernel refuses.
    pub fn wait(&mut self) -> Result<(), Error> {
        self.wait_for(probe(GetRandomFlags::NONBLOCK), || probe(GetRandomFlags::empty()))
    }

    /// The waiting, with the answer of a first probe and a blocking one. The thread is left behind at the limit: it
    /// sits in a system call that ends with the process.
    fn wait_for(
        &mut self,
        first: io::Result<()>,
        blocking: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        match first {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return Ok(other?),
        }
        let limit = self.limit;
        (self.notify)(&Notice::Waiting(limit));
        let (ready, waiter) = mpsc::channel();
        thread::Builder::new().spawn(move || ready.send(blocking()))?;
        match waiter.recv_timeout(limit) {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Error::NoEntropy(limit)),
        }
    }
}

fn probe(flags: GetRandomFlags) -> io::Result<()> {
    loop {
        match getrandom(&mut [0_u8; 1], flags) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Fills `out` from the kernel's generator; call [`Entropy::wait`] before, or this may block.
pub(super) fn fill(mut out: &mut [u8]) -> io::Result<()> {
    while !out.is_empty() {
        match getrandom(&mut *out, GetRandomFlags::empty()) {
            Ok(filled) => out = &mut out[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_ready() -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn wait(first: io::Result<()>, blocking: fn() -> io::Result<()>) -> (Result<(), Error>, usize) {
        let mut messages = 0;
        let mut notify = |_: &Notice<'_>| messages += 1;
        let mut entropy = Entropy { limit: Duration::from_millis(50), notify: &mut notify };
        let result = entropy.wait_for(first, blocking);
        (result, messages)
    }

    #[test]
    fn a_ready_generator_needs_no_message() {
        let (result, messages) = wait(Ok(()), || unreachable!());
        assert!(result.is_ok() && messages == 0);
    }

    #[test]
    fn a_late_generator_is_announced_and_a_silent_one_is_given_up() {
        let (result, messages) = wait(not_ready(), || Ok(()));
        assert!(result.is_ok() && messages == 1);
        let (result, messages) = wait(not_ready(), || {
            thread::sleep(Duration::from_secs(600));
            Ok(())
        });
        assert!(matches!(result, Err(Error::NoEntropy(_))) && messages == 1);
    }

    #[test]
    fn a_refusal_is_an_error() {
        let (result, _) = wait(Err(io::ErrorKind::Unsupported.into()), || Ok(()));
        assert!(matches!(result, Err(Error::Io(_))));
    }

    #[test]
    fn fills_every_byte() {
        let mut seen = [0_u8; 64];
        for _ in 0..20 {
            let mut out = [0; 64];
            fill(&mut out).unwrap();
            seen.iter_mut().zip(out).for_each(|(s, o)| *s |= o);
        }
        assert!(seen.iter().all(|&byte| byte != 0));
    }
}
