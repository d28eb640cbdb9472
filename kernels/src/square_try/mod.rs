//! A proposal of the Square Attack (Andriushchenko et al., 1912.00049), per sample: the best perturbation so far with a random square
//! changed. [`square_keep`](crate::square_keep) takes or leaves it.
//!
//! Linf: the first proposal is vertical stripes of +-eps per channel; the others add +-2 eps per channel in a square, then clamp to the ball
//! and the box of images. L2: the first are 5 x 5 tiles of a two-sided pyramid; the others move the budget of one window, and what the
//! ball has left, into a pyramid in another window, then scale the whole to length eps and clamp.
//!
//! The side of the square comes from the share p of the pixels that it covers: .8, halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and
//! 8000 proposals (B.5 of the field's definitions). Draws are keyed by (seed, stream, sample id, proposal): each sample has its own, unlike in
//! the public implementation, where all samples of a batch share position and signs. For comparisons, [`Draws::Shared`] does as it does.
//!
//! A row of `progress` holds eps, status, proposals judged so far (`common::progress`), and the loss of the best one.
//!
//! | word of a proposal | says |
//! |---|---|
//! | 0, 1 | row and column of the window: `floor(u (h - s))`, never the last place |
//! | 2, 3 | those of the window that gives (L2) |
//! | 4 | upper bit: the pyramid is transposed (L2) |
//! | 8 + c | upper bit: the sign of channel c |
//! | 16 + .. | of the first proposal: signs of (channel, column), or (tile, channel), then transpositions of tiles |

pub mod cases;
mod cpu;
mod cuda;
mod pyramid;
mod reference;
mod wgpu;

use bytemuck::{Pod, Zeroable};
use engine::rng::Stream;
use engine::{Error, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::gpu::word;
use crate::common::progress::Ball;
use crate::common::specs::{misfit, random_state, sample_ids, samples};

pub use pyramid::pyramids;

const NAME: &str = "square_try";

/// Columns of a row of `progress`.
pub const COLUMNS: usize = 4;
/// Loss of the best perturbation.
pub const LOSS: usize = 3;

/// Phases of the schedule.
pub const PHASES: usize = 10;
/// A phase ends after so many proposals.
pub const ENDS: [u32; PHASES - 1] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];
/// Share of the pixels that the first squares cover.
const SHARE: f64 = 0.8;
/// Tiles of the first proposal in L2, along each side.
const TILES: usize = 5;

/// First word of signs, and of what the first proposal draws.
pub(crate) const SIGNS: usize = 8;
pub(crate) const FIRST: usize = 16;

/// Whose draws a sample takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Draws {
    /// Its own, by its id.
    Own,
    /// Those of sample 0, as all others.
    Shared,
}

/// The random part of the attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Search {
    /// The ball.
    pub ball: Ball,
    /// Whose draws.
    pub draws: Draws,
}

/// Values that a proposal is made of.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The best perturbation, [b, c, h, w].
    pub best: Value,
    /// Images in [0, 1], [b, c, h, w].
    pub images: Value,
    /// Sample ids u32 `[b]`.
    pub ids: Value,
    /// [b, 4].
    pub progress: Value,
    /// Random state u32 `[4]` of `engine::rng`: its seed.
    pub state: Value,
    /// [`pyramids`] of the image's size; of the Linf ball any value is taken.
    pub pyramids: Value,
}

/// Sides of the squares in each phase, for images of `h` by `w`.
///
/// In L2 at least 3 and odd, where that fits.
pub fn sides(ball: Ball, h: usize, w: usize) -> [usize; PHASES] {
    let mut share = SHARE;
    [(); PHASES].map(|()| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "sides of images"
        )]
        let side = (share * (h * w) as f64).sqrt().round_ties_even() as usize;
        share /= 2.0;
        match ball {
            Ball::Linf => side.max(1).min(h).min(w),
            Ball::L2 => (side.max(3) | 1).min(h).min(w),
        }
    })
}

/// Side, first row and number along each side of the tiles of the first L2 proposal.
pub(crate) fn tiles(h: usize, w: usize) -> (usize, usize, [usize; 2]) {
    let side = (h / TILES).max(1);
    let start = h.saturating_sub(side * TILES) / 2;
    let along = |size: usize| (size / side).min(size.saturating_sub(start) / side);
    (side, start, [along(h), along(w)])
}

/// Where each phase's pyramid begins in [`pyramids`]; the tiles' is first.
pub(crate) fn offsets(h: usize, w: usize) -> [usize; PHASES] {
    let (tile, ..) = tiles(h, w);
    let mut at = tile * tile;
    sides(Ball::L2, h, w).map(|side| {
        let start = at;
        at += side * side;
        start
    })
}

#[derive(Debug)]
struct SquareTry {
    search: Search,
    stream: Stream,
}

/// Records a proposal into `trial` [b, c, h, w], drawn from the stream of name `stream`.
///
/// # Errors
/// Shapes do not fit.
pub fn square_try(
    tape: &mut Tape,
    store: &Store,
    search: Search,
    trial: Var,
    origin: Origin,
    stream: &str,
) -> Result<()> {
    let update = SquareTry { search, stream: Stream::named(stream) };
    let inputs = [origin.best, origin.images, origin.ids, origin.progress, origin.state, origin.pyramids];
    tape.update(store, update, &[trial], &inputs)
}

impl Update for SquareTry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        match (state, inputs) {
            ([trial], [best, images, ids, progress, words, pyramids])
                if trial.dtype.is_real()
                    && trial.shape.rank() == 4
                    && trial.elements() > 0
                    && best == trial
                    && images == trial
                    && progress.dtype == trial.dtype
                    && progress.dims() == [samples(trial), COLUMNS] =>
            {
                sample_ids(NAME, *ids, samples(trial))?;
                random_state(NAME, *words)?;
                if let (Ball::L2, [_, _, h, w]) = (self.search.ball, trial.dims()) {
                    let wanted = pyramids_len(*h, *w);
                    if pyramids.dims() != [wanted] || pyramids.dtype != trial.dtype {
                        return Err(Error::new(NAME, "the pyramids are not those of the images' size")
                            .with("pyramids", pyramids)
                            .with("wanted elements", wanted)
                            .help("square_try::pyramids(h, w)"));
                    }
                }
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                let names = ["trial", "best", "images", "ids", "progress", "random state", "pyramids"];
                Err(misfit(NAME, &names, &specs, "trial, best and images [b, c, h, w], progress [b, 4], ids u32 [b]"))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        state.first().map_or(Work::default(), |trial| Work::new(8 * trial.elements(), 3 * trial.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self, io)),
            Exec::Cuda(exec) => cuda::run(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self, exec, &io),
        }
    }
}

pub(crate) fn pyramids_len(h: usize, w: usize) -> usize {
    let (tile, ..) = tiles(h, w);
    tile * tile + sides(Ball::L2, h, w).iter().map(|side| side * side).sum::<usize>()
}

/// What kernels on GPUs know of the attack, as words that all of them lay out alike.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Schedule {
    stream: u32,
    /// 1 where all samples take the draws of sample 0.
    shared: u32,
    /// [b, c, h, w].
    dims: [u32; 4],
    /// Of the tiles: side, first row, number down and across.
    tiles: [u32; 4],
    /// Elements of the part, and its first; samples in L2. CUDA has one part.
    part: [u32; 2],
    /// Filled up to a multiple of four.
    sides: [u32; 12],
    offsets: [u32; 12],
}

impl Schedule {
    fn of(update: &SquareTry, dims: [usize; 4]) -> Self {
        let [_, _, h, w] = dims;
        let padded = |values: [usize; PHASES]| {
            let mut words = [0; 12];
            words.iter_mut().zip(values).for_each(|(slot, value)| *slot = word(value));
            words
        };
        let (side, start, [down, across]) = tiles(h, w);
        Self {
            stream: update.stream.0,
            shared: u32::from(update.search.draws == Draws::Shared),
            dims: dims.map(word),
            tiles: [side, start, down, across].map(word),
            part: [word(dims.iter().product()), 0],
            sides: padded(sides(update.search.ball, h, w)),
            offsets: padded(offsets(h, w)),
        }
    }
}
