//! Replays must not allocate: neither may the product, attention and the threads below them.

#![expect(clippy::unwrap_used, reason = "a helper of tests, where a failure is to stop the test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use vitrum_kernels::common::gemm::{Gemm, Mat, MatMut, gemm, gemm_scratch};
use vitrum_kernels::common::parallel;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn step(x: &[f32], w: &[f32], y: &mut [f32], dw: &mut [f32], scratch: &mut [f32]) {
    let (m, n, k) = (520, 96, 192);
    gemm(Gemm::new(m, n, k, Mat::rows(x, k), Mat::rows(w, k).transposed(), MatMut::rows(y, n)), scratch).unwrap();
    parallel::for_each_block(parallel::blocks(y, 4096), |_, y| y.iter_mut().for_each(|y| *y *= 0.5));
    let dy = &*y;
    gemm(Gemm::new(n, k, m, Mat::rows(dy, n).transposed(), Mat::rows(x, k), MatMut::rows(dw, k)), scratch).unwrap();
}

#[test]
fn a_hundred_steps_allocate_nothing() {
    for threads in [1, 2] {
        let (x, w) = (vec![0.5; 520 * 192], vec![0.25; 96 * 192]);
        let (mut y, mut dw) = (vec![0.0; 520 * 96], vec![0.0; 96 * 192]);
        let len = gemm_scratch::<f32>(520, 96, 192, threads).max(gemm_scratch::<f32>(96, 192, 520, threads));
        let mut scratch = vec![0.0; len];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let allocated = pool.install(|| {
            // Threads register with the pool's queues when they first steal.
            for _ in 0..20 {
                step(&x, &w, &mut y, &mut dw, &mut scratch);
            }
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for _ in 0..100 {
                step(&x, &w, &mut y, &mut dw, &mut scratch);
            }
            ALLOCATIONS.load(Ordering::Relaxed) - before
        });
        assert_eq!(allocated, 0, "{threads} threads");
    }
}
