//! Reads a failing disk: what cannot be read is zeros, in its place and counted.

use crate::crypt::stream::ReadAt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is given up at a time: the unit in which the kernel reads a device.
const BLOCK: u64 = 4096;

/// A source with unreadable places.
pub(crate) struct Lenient<S> {
    inner: S,
    unreadable: AtomicU64,
}

impl<S> Lenient<S> {
    /// Reads from `inner`.
    pub(crate) fn new(inner: S) -> Lenient<S> {
        Lenient { inner, unreadable: AtomicU64::new(0) }
    }

    /// The source itself.
    pub(crate) fn inner(&self) -> &S {
        &self.inner
    }

    /// How many bytes could not be read since this was asked last.
    pub(crate) fn take_unreadable(&self) -> u64 {
        self.unreadable.swap(0, Ordering::Relaxed)
    }
}

impl<S: ReadAt> ReadAt for Lenient<S> {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.inner.read_at(out, offset) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted && !out.is_empty() => {}
            result => return result,
        }
        // One block alone: the caller comes back for the rest.
        let within = BLOCK - offset % BLOCK;
        let take = out.len().min(usize::try_from(within).unwrap_or(usize::MAX));
        let block = &mut out[..take];
        match self.inner.read_at(block, offset) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                block.fill(0);
                self.unreadable.fetch_add(take as u64, Ordering::Relaxed);
                Ok(take)
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ones, with an unreadable sector.
    struct Failing;

    impl ReadAt for Failing {
        fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
            let end = offset + out.len() as u64;
            if offset < 8704 && end > 8192 {
                return Err(io::Error::from_raw_os_error(5));
            }
            out.fill(1);
            Ok(out.len())
        }
    }

    #[test]
    fn an_unreadable_place_is_zeros_and_costs_its_block() {
        let source = Lenient::new(Failing);
        let mut bytes = vec![9; 20000];
        let mut at = 100;
        while at < bytes.len() {
            let offset = at as u64;
            at += source.read_at(&mut bytes[at..], offset).unwrap();
        }
        assert!(bytes[100..8192].iter().chain(&bytes[12288..]).all(|&byte| byte == 1));
        assert!(bytes[8192..12288].iter().all(|&byte| byte == 0));
        assert_eq!((source.take_unreadable(), source.take_unreadable()), (4096, 0));
    }
}
