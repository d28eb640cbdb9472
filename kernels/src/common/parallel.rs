//! Work over the threads of the current rayon pool, without allocation.
//!
//! Chunks are handed out by one shared counter, so a thread that the system delays delays nobody else. Which thread
//! computes a chunk is left to chance; what the chunk computes must not depend on it, and then the same bits come out for
//! every thread count. Choose chunk sizes from shapes, never from [`threads`], wherever a chunk's size changes rounding.
//!
//! Nothing here allocates when called inside a pool (`pool.install(|| ...)`). Entering a pool from outside does, once in
//! about 60 entries: enter it once around the replay.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::{Error, Result};

/// Threads of the current pool.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Calls `work(i)` once for each `i` in `0..chunks`, on all threads. One fork and join costs about 5 us, so a chunk
/// should hold at least some 16,384 elements of cheap work.
pub fn for_each(chunks: usize, work: impl Fn(usize) + Sync) {
    let runners = threads().min(chunks);
    if runners <= 1 {
        (0..chunks).for_each(work);
        return;
    }
    let next = AtomicUsize::new(0);
    fork(runners, &|| {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= chunks {
                return;
            }
            work(i);
        }
    });
}

/// Rows of `width` elements that make a chunk of cheap work: at least one, some 16,384 elements.
pub fn rows_per_block(width: usize) -> usize {
    (16_384 / width.max(1)).max(1)
}

fn fork(runners: usize, run: &(impl Fn() + Sync)) {
    if runners <= 1 {
        return run();
    }
    rayon::join(|| fork(runners / 2, run), || fork(runners - runners / 2, run));
}

/// Something that can be handed out in disjoint numbered parts: [`Blocks`], or a tuple of up to four of them.
pub trait Split: Send + Sync {
    /// One part.
    type Part;

    /// Number of parts.
    fn parts(&self) -> usize;

    /// Part `i`.
    ///
    /// # Safety
    /// `i < self.parts()`, and no two live parts have the same number.
    unsafe fn part(&self, i: usize) -> Self::Part;
}

/// A mutable slice cut into blocks of equal length (the last may be shorter); made by [`blocks`].
pub struct Blocks<'a, T> {
    start: *mut T,
    len: usize,
    block: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Blocks` is a `&mut [T]`, whose parts go to several threads at once but never the same part to two.
unsafe impl<T: Send> Send for Blocks<'_, T> {}
// SAFETY: as above; `part` is the only access, and its contract forbids sharing a part.
unsafe impl<T: Send> Sync for Blocks<'_, T> {}

/// Cuts `data` into blocks of `block` elements (a block of 0 is taken as 1).
pub fn blocks<T>(data: &mut [T], block: usize) -> Blocks<'_, T> {
    Blocks { start: data.as_mut_ptr(), len: data.len(), block: block.max(1), borrow: PhantomData }
}

impl<'a, T: Send> Split for Blocks<'a, T> {
    type Part = &'a mut [T];

    fn parts(&self) -> usize {
        self.len.div_ceil(self.block)
    }

    unsafe fn part(&self, i: usize) -> &'a mut [T] {
        let first = i * self.block;
        let len = self.block.min(self.len - first);
        // SAFETY: the caller keeps `i` below `parts`, so first < len and the range lies in the borrowed slice; distinct
        // parts don't overlap, and the caller never holds one part twice.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}

/// Tuples hand out the parts of the same number together; all members should have as many parts (checked in debug
/// builds), else the surplus is never handed out.
macro_rules! split_tuple {
    ($($name:ident: $index:tt),+) => {
        impl<$($name: Split),+> Split for ($($name,)+) {
            type Part = ($($name::Part,)+);

            fn parts(&self) -> usize {
                let counts = [$(self.$index.parts()),+];
                debug_assert!(counts.iter().all(|&n| n == counts[0]), "unequal numbers of parts: {counts:?}");
                counts.into_iter().min().unwrap_or(0)
            }

            unsafe fn part(&self, i: usize) -> Self::Part {
                // SAFETY: handed on to the caller.
                ($(unsafe { self.$index.part(i) },)+)
            }
        }
    };
}
split_tuple!(A: 0, B: 1);
split_tuple!(A: 0, B: 1, C: 2);
split_tuple!(A: 0, B: 1, C: 2, D: 3);

/// A pointer that threads share; each writes its own part of what it points to.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(*mut T);
// SAFETY: whoever dereferences the pointer keeps to its own part.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(data: &mut [T]) -> Self {
        Self(data.as_mut_ptr())
    }

    /// `offset` elements on.
    pub fn at(&self, offset: usize) -> *mut T {
        self.0.wrapping_add(offset)
    }
}

/// Calls `work(i, part i)` for each part, on all threads.
///
/// `for_each_block((blocks(&mut out, 64 * d), blocks(&mut mean, 64)), |i, (out, mean)| ...)` hands out 64 rows a time.
pub fn for_each_block<S: Split>(parts: S, work: impl Fn(usize, S::Part) + Sync) {
    // SAFETY: `for_each` hands out each number below `parts` exactly once.
    for_each(parts.parts(), |i| work(i, unsafe { parts.part(i) }));
}

/// As [`for_each_block`], and each running thread has `per_thread` elements of `scratch` for itself, as
/// [`for_each_with`] says.
///
/// # Errors
/// `scratch` has no room for one thread.
pub fn for_each_block_with<S: Split, T: Send>(
    parts: S,
    scratch: &mut [T],
    per_thread: usize,
    work: impl Fn(usize, S::Part, &mut [T]) + Sync,
) -> Result<()> {
    // SAFETY: `for_each_with` hands out each number below `parts` exactly once.
    for_each_with(parts.parts(), scratch, per_thread, |i, scratch| work(i, unsafe { parts.part(i) }, scratch))
}

/// As [`for_each`], and each running thread has `per_thread` elements of `scratch` for itself (with whatever an earlier
/// chunk left there). Uses as many threads as `scratch` has room for; ask for `per_thread * threads()`.
///
/// # Errors
/// `scratch` has no room for one thread.
pub fn for_each_with<T: Send>(
    chunks: usize,
    scratch: &mut [T],
    per_thread: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) -> Result<()> {
    if scratch.len() < per_thread {
        return Err(Error::new("parallel", "scratch too small for one thread")
            .with("elements", scratch.len())
            .with("needed per thread", per_thread));
    }
    let room = scratch.len().checked_div(per_thread).unwrap_or(usize::MAX);
    let next = AtomicUsize::new(0);
    let run = |scratch: &mut [T]| {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= chunks {
                return;
            }
            work(i, scratch);
        }
    };
    fork_with(threads().min(chunks).min(room), scratch, per_thread, &run);
    Ok(())
}

fn fork_with<T: Send>(runners: usize, scratch: &mut [T], per_thread: usize, run: &(impl Fn(&mut [T]) + Sync)) {
    if runners <= 1 {
        return run(&mut scratch[..per_thread]);
    }
    let (left, right) = scratch.split_at_mut(runners / 2 * per_thread);
    rayon::join(
        || fork_with(runners / 2, left, per_thread, run),
        || fork_with(runners - runners / 2, right, per_thread, run),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn every_chunk_once() {
        for threads in [1, 2, 3, 7] {
            for chunks in [0, 1, 2, 65, 1000] {
                let seen: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
                pool(threads).install(|| {
                    for_each(chunks, |i| {
                        seen[i].fetch_add(1, Ordering::Relaxed);
                    });
                });
                assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1), "{threads} threads, {chunks} chunks");
            }
        }
    }

    #[test]
    fn blocks_cover_the_slice() {
        let (mut a, mut b) = (vec![0_usize; 103], vec![0_usize; 21]);
        pool(3).install(|| {
            for_each_block((blocks(&mut a, 10), blocks(&mut b, 2)), |i, (a, b)| {
                a.iter_mut().for_each(|a| *a += i);
                b.iter_mut().for_each(|b| *b += i);
            });
        });
        assert!(a.iter().enumerate().all(|(i, &a)| a == i / 10));
        assert!(b.iter().enumerate().all(|(i, &b)| b == i / 2));
    }

    #[test]
    fn scratch_is_private() {
        let mut out = vec![0_u64; 500];
        let mut scratch = vec![0_u64; 4 * 64];
        pool(4).install(|| {
            for_each_block_with(blocks(&mut out, 1), &mut scratch, 64, |i, out, scratch| {
                scratch.fill(i as u64);
                std::hint::black_box(&mut *scratch);
                out[0] = scratch.iter().sum();
            })
            .unwrap();
        });
        assert!(out.iter().enumerate().all(|(i, &o)| o == 64 * i as u64));
        let too_small = for_each_block_with(blocks(&mut out, 1), &mut scratch[..3], 4, |_, _, _| ()).unwrap_err();
        assert!(too_small.to_string().contains("scratch too small"), "{too_small}");
    }
}
