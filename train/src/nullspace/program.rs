//! Small dense convex programmes with bounds, solved with a certificate: minimise `½ zᵀQz + cᵀz` where `A z = b` and
//! `lower <= z <= upper`, `Q` diagonal. `Q = 0` is a linear programme, `Q = I` the projection onto a polytope.
//!
//! The method is Mehrotra's predictor-corrector (S. Mehrotra, SIAM J. Optimization 2, 1992) in f64, on the normal equations
//! `A H⁻¹ Aᵀ`. Every iterate lies strictly inside the bounds. Whatever the multipliers `y` are,
//! `bᵀy + Σ min over [lower, upper] of ½ q z² + (c - Aᵀy) z` is at most the optimum: that bound is part of the answer, so
//! that the quality of a result doesn't rest on how it was found.

use engine::{Error, Result};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltRegularization, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::cholesky::llt::solve::solve_in_place;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

/// The programme. A lower bound may be -infinity together with an upper one of infinity where the entry of `quadratic` is
/// positive.
#[derive(Clone, Debug)]
pub struct Program {
    /// Diagonal of `Q`, at least 0.
    pub quadratic: Vec<f64>,
    /// `c`.
    pub linear: Vec<f64>,
    /// `A`, [m, n].
    pub matrix: Mat<f64>,
    /// `b`.
    pub right: Vec<f64>,
    /// Lower bounds.
    pub lower: Vec<f64>,
    /// Upper bounds.
    pub upper: Vec<f64>,
}

/// A point near the optimum, and how near.
#[derive(Clone, Debug)]
pub struct Solution {
    /// The point: inside the bounds to the bit, with `A z = b` up to `residual`.
    pub point: Vec<f64>,
    /// No point inside the bounds with `A z = b` has a smaller objective.
    pub bound: f64,
    /// Largest |A z - b|.
    pub residual: f64,
    /// Newton steps.
    pub steps: usize,
}

const MOST_STEPS: usize = 80;
/// Relative gap and residual at which the search ends.
const TOLERANCE: f64 = 1e-12;

/// The state of the search: the point, and multipliers of the constraints and of the bounds.
#[derive(Clone)]
struct Point {
    z: Vec<f64>,
    y: Vec<f64>,
    at_lower: Vec<f64>,
    at_upper: Vec<f64>,
}

/// A Newton direction.
struct Direction {
    z: Vec<f64>,
    y: Vec<f64>,
    at_lower: Vec<f64>,
    at_upper: Vec<f64>,
}

/// The bounds of one entry.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Fixed,
    Free,
    Boxed,
}

impl Program {
    /// Solves the programme.
    ///
    /// # Errors
    /// Lengths that don't match, values that aren't finite, bounds that cross, or a search that ends far from the optimum (a
    /// programme without any feasible point).
    pub fn solve(&self) -> Result<Solution> {
        self.check()?;
        let kinds: Vec<Kind> = self.lower.iter().zip(&self.upper).map(|(&l, &u)| kind(l, u)).collect();
        let mut point = self.start(&kinds);
        let mut best: Option<(f64, Solution)> = None;
        for steps in 0..MOST_STEPS {
            let solution = self.assess(&point, steps);
            let scale = 1.0 + solution.bound.abs().min(1e300);
            let gap = (self.objective(&solution.point) - solution.bound).abs() / scale;
            let size = 1.0 + self.right.iter().fold(0.0_f64, |most, b| most.max(b.abs()));
            let merit = gap.max(solution.residual / size);
            if best.as_ref().is_none_or(|(least, _)| merit < *least) {
                best = Some((merit, solution));
            }
            if merit < TOLERANCE || !self.advance(&mut point, &kinds) {
                break;
            }
        }
        let failed = || Error::new("bounded programme", "no point was found that meets the constraints");
        let (merit, solution) = best.ok_or_else(failed)?;
        if merit < 1e-5 { Ok(solution) } else { Err(failed().with("relative gap or residual", merit)) }
    }

    /// `½ zᵀQz + cᵀz`.
    pub fn objective(&self, point: &[f64]) -> f64 {
        let terms = point.iter().zip(&self.quadratic).zip(&self.linear);
        terms.map(|((&z, &q), &c)| (0.5 * q * z + c) * z).sum()
    }

    /// The lower bound on the optimum that the multipliers `y` prove.
    fn bound(&self, y: &[f64]) -> f64 {
        let pulled = transposed(&self.matrix, y);
        let fixed: f64 = self.right.iter().zip(y).map(|(b, y)| b * y).sum();
        let least = (0..pulled.len()).map(|i| {
            let (q, slope) = (self.quadratic[i], self.linear[i] - pulled[i]);
            let (lower, upper) = (self.lower[i], self.upper[i]);
            let z = if q > 0.0 {
                (-slope / q).clamp(lower, upper)
            } else if slope >= 0.0 {
                lower
            } else {
                upper
            };
            (0.5 * q * z + slope) * z
        });
        fixed + least.sum::<f64>()
    }

    fn check(&self) -> Result<()> {
        let (m, n) = self.matrix.shape();
        let lengths = [self.quadratic.len(), self.linear.len(), self.lower.len(), self.upper.len()];
        let error = |problem: &str| Error::new("bounded programme", problem).with("matrix", format!("{m}x{n}"));
        if lengths.iter().any(|&length| length != n) || self.right.len() != m {
            return Err(error("the lengths do not match").with("lengths", format!("{lengths:?}")));
        }
        let all = self.linear.iter().chain(&self.right).chain(&self.quadratic);
        if all.chain(self.matrix.col_iter().flat_map(|column| column.iter())).any(|value| !value.is_finite()) {
            return Err(error("a value isn't finite"));
        }
        let bad = (0..n).find(|&i| {
            let free = self.lower[i] == f64::NEG_INFINITY && self.upper[i] == f64::INFINITY;
            let finite = self.lower[i].is_finite() && self.upper[i].is_finite();
            let ordered = self.lower[i] <= self.upper[i];
            self.quadratic[i] < 0.0 || !((finite && ordered) || (free && self.quadratic[i] > 0.0))
        });
        match bad {
            Some(at) => Err(error("bounds cross, or an entry without bounds has no curvature").with("entry", at)),
            None => Ok(()),
        }
    }

    fn start(&self, kinds: &[Kind]) -> Point {
        let n = kinds.len();
        let z = |i: usize| match kinds[i] {
            Kind::Fixed => self.lower[i],
            Kind::Free => 0.0,
            Kind::Boxed => 0.5 * (self.lower[i] + self.upper[i]),
        };
        let z: Vec<f64> = (0..n).map(z).collect();
        // Multipliers of the size of the gradient, and of what the constraints lack: they favour neither bound, and do not
        // press an entry to its bound before the constraints are nearly met.
        let gradient = (0..n).map(|i| (self.quadratic[i] * z[i] + self.linear[i]).abs()).fold(1e-3, f64::max);
        let lacking = transposed(&self.matrix, &self.residual(&z)).iter().fold(0.0_f64, |most, v| most.max(v.abs()));
        let size = gradient + lacking;
        let multipliers = vec![size; n];
        Point { z, y: vec![0.0; self.right.len()], at_lower: multipliers.clone(), at_upper: multipliers }
    }

    fn assess(&self, point: &Point, steps: usize) -> Solution {
        let residual = self.residual(&point.z).iter().fold(0.0_f64, |most, r| most.max(r.abs()));
        Solution { point: point.z.clone(), bound: self.bound(&point.y), residual, steps }
    }

    /// A z - b.
    fn residual(&self, z: &[f64]) -> Vec<f64> {
        let mut rest = applied(&self.matrix, z);
        rest.iter_mut().zip(&self.right).for_each(|(r, b)| *r -= b);
        rest
    }

    /// One step of predictor and corrector; false where no further progress is possible.
    fn advance(&self, point: &mut Point, kinds: &[Kind]) -> bool {
        let n = kinds.len();
        let below: Vec<f64> = (0..n).map(|i| point.z[i] - self.lower[i]).collect();
        let above: Vec<f64> = (0..n).map(|i| self.upper[i] - point.z[i]).collect();
        let inverse = |i: usize| match kinds[i] {
            Kind::Fixed => 0.0,
            Kind::Free => 1.0 / self.quadratic[i],
            Kind::Boxed => 1.0 / (self.quadratic[i] + point.at_lower[i] / below[i] + point.at_upper[i] / above[i]),
        };
        let inverse: Vec<f64> = (0..n).map(inverse).collect();
        let Some(normal) = Normal::new(&self.matrix, &inverse) else { return false };
        let system = System { program: self, kinds, below: &below, above: &above, inverse: &inverse, normal: &normal };
        let (step, primal, dual) = system.step(point);
        let finite = step.z.iter().chain(&step.y).all(|value| value.is_finite());
        // Rounding may carry an entry onto its bound where it can't be told from it any more: that ends the search.
        let moved: Vec<f64> = point.z.iter().zip(&step.z).map(|(z, d)| z + 0.999 * primal * d).collect();
        let boxed = || (0..n).filter(|&i| kinds[i] == Kind::Boxed);
        let inside = boxed().all(|i| moved[i] > self.lower[i] && moved[i] < self.upper[i]);
        if !finite || !inside || primal.max(dual) < 1e-12 {
            return false;
        }
        point.z = moved;
        point.y.iter_mut().zip(&step.y).for_each(|(y, d)| *y += 0.999 * dual * d);
        for i in boxed() {
            point.at_lower[i] += 0.999 * dual * step.at_lower[i];
            point.at_upper[i] += 0.999 * dual * step.at_upper[i];
        }
        true
    }
}

fn kind(lower: f64, upper: f64) -> Kind {
    if lower == f64::NEG_INFINITY {
        Kind::Free
    } else if upper - lower > 1e-13 * (1.0 + lower.abs()) {
        Kind::Boxed
    } else {
        Kind::Fixed
    }
}

/// The linear system of one step.
struct System<'a> {
    program: &'a Program,
    kinds: &'a [Kind],
    below: &'a [f64],
    above: &'a [f64],
    inverse: &'a [f64],
    normal: &'a Normal,
}

impl System<'_> {
    /// Mehrotra's direction, and how far to go along it in the point and in its multipliers.
    fn step(&self, at: &Point) -> (Direction, f64, f64) {
        let predictor = self.direction(at, &|i| (-at.at_lower[i] * self.below[i], -at.at_upper[i] * self.above[i]));
        let (primal, dual) = self.lengths(at, &predictor);
        let (mu, ahead) = (self.mu(at, &predictor, 0.0, 0.0), self.mu(at, &predictor, primal, dual));
        let target = if mu > 0.0 { mu * (ahead / mu).clamp(0.0, 1.0).powi(3) } else { 0.0 };
        // The second-order term supposes a full step: it counts as far as the predictor goes. At full weight it can go round
        // in circles for ever.
        let weight = primal * dual;
        let corrected = self.direction(at, &|i| {
            let (dz, dl, du) = (weight * predictor.z[i], predictor.at_lower[i], predictor.at_upper[i]);
            let (lower, upper) = (at.at_lower[i] * self.below[i], at.at_upper[i] * self.above[i]);
            (target - lower - dz * dl, target - upper + dz * du)
        });
        let (primal, dual) = self.lengths(at, &corrected);
        (corrected, primal, dual)
    }

    /// Mean product of slack and multiplier after a step of these lengths.
    fn mu(&self, at: &Point, step: &Direction, primal: f64, dual: f64) -> f64 {
        let boxed = || (0..self.kinds.len()).filter(|&i| self.kinds[i] == Kind::Boxed);
        let product = |i: usize| {
            let dz = primal * step.z[i];
            (self.below[i] + dz) * (at.at_lower[i] + dual * step.at_lower[i])
                + (self.above[i] - dz) * (at.at_upper[i] + dual * step.at_upper[i])
        };
        boxed().map(product).sum::<f64>() / (2 * boxed().count()).max(1) as f64
    }

    /// The direction for which the products of multipliers and slacks change by `wanted`, lower bound first.
    fn direction(&self, at: &Point, wanted: &dyn Fn(usize) -> (f64, f64)) -> Direction {
        let program = self.program;
        let pulled = transposed(&program.matrix, &at.y);
        let n = self.kinds.len();
        let gradient = |i: usize| {
            let (lower, upper, more) = match self.kinds[i] {
                Kind::Boxed => {
                    let (lower, upper) = wanted(i);
                    (at.at_lower[i], at.at_upper[i], lower / self.below[i] - upper / self.above[i])
                }
                Kind::Fixed | Kind::Free => (0.0, 0.0, 0.0),
            };
            pulled[i] + lower - upper - program.quadratic[i] * at.z[i] - program.linear[i] + more
        };
        let gradient: Vec<f64> = (0..n).map(gradient).collect();
        let scaled: Vec<f64> = gradient.iter().zip(self.inverse).map(|(g, h)| g * h).collect();
        let mut right = program.residual(&at.z);
        right.iter_mut().zip(applied(&program.matrix, &scaled)).for_each(|(r, a)| *r = -*r - a);
        let y = self.normal.solve(&right);
        let back = transposed(&program.matrix, &y);
        let z: Vec<f64> = (0..n).map(|i| self.inverse[i] * (gradient[i] + back[i])).collect();
        let multiplier = |i: usize, upper: bool| match self.kinds[i] {
            Kind::Boxed if upper => (wanted(i).1 + at.at_upper[i] * z[i]) / self.above[i],
            Kind::Boxed => (wanted(i).0 - at.at_lower[i] * z[i]) / self.below[i],
            Kind::Fixed | Kind::Free => 0.0,
        };
        let at_lower = (0..n).map(|i| multiplier(i, false)).collect();
        let at_upper = (0..n).map(|i| multiplier(i, true)).collect();
        Direction { z, y, at_lower, at_upper }
    }

    /// How far to go in the point and in its multipliers, at most 1, until an entry or a multiplier reaches its bound.
    fn lengths(&self, at: &Point, step: &Direction) -> (f64, f64) {
        let (mut primal, mut dual) = (1.0_f64, 1.0_f64);
        let shorten = |length: &mut f64, room: f64, change: f64| {
            if change < 0.0 {
                *length = length.min(-room / change);
            }
        };
        for i in (0..self.kinds.len()).filter(|&i| self.kinds[i] == Kind::Boxed) {
            shorten(&mut primal, self.below[i], step.z[i]);
            shorten(&mut primal, self.above[i], -step.z[i]);
            shorten(&mut dual, at.at_lower[i], step.at_lower[i]);
            shorten(&mut dual, at.at_upper[i], step.at_upper[i]);
        }
        // With curvature, the gradient depends on the point: both must go equally far.
        let curved = self.program.quadratic.iter().any(|&q| q > 0.0);
        if curved { (primal.min(dual), primal.min(dual)) } else { (primal, dual) }
    }
}

/// `A H⁻¹ Aᵀ` and its Cholesky factor.
struct Normal {
    matrix: Mat<f64>,
    factor: Mat<f64>,
}

impl Normal {
    fn new(a: &Mat<f64>, inverse: &[f64]) -> Option<Self> {
        let (m, n) = a.shape();
        let scaled = Mat::from_fn(m, n, |row, column| a[(row, column)] * inverse[column]);
        let mut matrix = Mat::zeros(m, m);
        matmul(matrix.as_mut(), Accum::Replace, scaled.as_ref(), a.transpose(), 1.0, Par::Seq);
        let largest = (0..m).map(|i| matrix[(i, i)]).fold(f64::MIN_POSITIVE, f64::max);
        let mut factor = matrix.clone();
        // Dependent rows: their pivots are lifted, and refinement below takes the error out.
        let lift = largest * 1e-15;
        (0..m).for_each(|i| factor[(i, i)] += lift);
        let mut scratch = MemBuffer::new(cholesky_in_place_scratch::<f64>(m, Par::Seq, Default::default()));
        let regular = LltRegularization { dynamic_regularization_delta: lift, dynamic_regularization_epsilon: lift };
        let stack = MemStack::new(&mut scratch);
        cholesky_in_place(factor.as_mut(), regular, Par::Seq, stack, Default::default()).ok()?;
        Some(Self { matrix, factor })
    }

    fn solve(&self, right: &[f64]) -> Vec<f64> {
        let mut solution = self.once(right);
        for _ in 0..2 {
            let product = applied(&self.matrix, &solution);
            let rest: Vec<f64> = right.iter().zip(product).map(|(r, p)| r - p).collect();
            solution.iter_mut().zip(self.once(&rest)).for_each(|(s, c)| *s += c);
        }
        solution
    }

    fn once(&self, right: &[f64]) -> Vec<f64> {
        let mut column = Mat::from_fn(right.len(), 1, |row, _| right[row]);
        let mut scratch = MemBuffer::new(faer::dyn_stack::StackReq::EMPTY);
        solve_in_place(self.factor.as_ref(), column.as_mut(), Par::Seq, MemStack::new(&mut scratch));
        (0..right.len()).map(|row| column[(row, 0)]).collect()
    }
}

/// A x.
pub(super) fn applied(a: &Mat<f64>, x: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; a.nrows()];
    for (column, &x) in a.col_iter().zip(x) {
        out.iter_mut().zip(column.iter()).for_each(|(sum, a)| *sum += a * x);
    }
    out
}

/// Aᵀ y.
pub(super) fn transposed(a: &Mat<f64>, y: &[f64]) -> Vec<f64> {
    a.col_iter().map(|column| column.iter().zip(y).map(|(a, y)| a * y).sum()).collect()
}

#[cfg(test)]
mod tests {
    use engine::rng::{Philox, Stream};
    use proptest::prelude::*;

    use super::*;

    fn program(seed: u64, m: usize, n: usize, quadratic: f64) -> Program {
        let philox = Philox::new(seed, 0, Stream::named("test"));
        let normal = |sample: u32, i: usize| f64::from(philox.normal(sample, i));
        let matrix = Mat::from_fn(m, n, |row, column| normal(0, row * n + column));
        let lower: Vec<f64> = (0..n).map(|i| -f64::from(philox.uniform(1, i))).collect();
        let upper: Vec<f64> = (0..n).map(|i| f64::from(philox.uniform(2, i))).collect();
        // Feasible by construction.
        let inside: Vec<f64> =
            (0..n).map(|i| lower[i] + f64::from(philox.uniform(3, i)) * (upper[i] - lower[i])).collect();
        let right = applied(&matrix, &inside);
        let linear = (0..n).map(|i| normal(4, i)).collect();
        Program { quadratic: vec![quadratic; n], linear, matrix, right, lower, upper }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn solutions_are_feasible_and_meet_their_bound(
            seed: u64, m in 1_usize..12, more in 1_usize..20, curved: bool,
        ) {
            let program = program(seed, m, m + more, f64::from(u8::from(curved)));
            let solution = program.solve().unwrap();
            for ((z, l), u) in solution.point.iter().zip(&program.lower).zip(&program.upper) {
                prop_assert!(l <= z && z <= u);
            }
            prop_assert!(solution.residual < 1e-8, "{}", solution.residual);
            let gap = program.objective(&solution.point) - solution.bound;
            prop_assert!(gap.abs() < 1e-7, "{gap} after {} steps", solution.steps);
        }

        /// The bound is below the objective of every feasible point, near the optimum or not.
        #[test]
        fn no_multipliers_prove_too_much(seed: u64, curved: bool) {
            let program = program(seed, 4, 9, f64::from(u8::from(curved)));
            let philox = Philox::new(seed, 1, Stream::named("test"));
            let best = program.solve().unwrap();
            for sample in 0..20 {
                let y: Vec<f64> = (0..4).map(|i| f64::from(philox.normal(sample, i))).collect();
                prop_assert!(program.bound(&y) <= program.objective(&best.point) + 1e-7);
            }
        }
    }

    /// One constraint: fill entries in the order of their price, a knapsack whose answer is found by sorting.
    #[test]
    fn a_knapsack_is_filled_by_price() {
        let price = [3.0, 1.0, 2.0, 5.0];
        let program = Program {
            quadratic: vec![0.0; 4],
            linear: price.to_vec(),
            matrix: Mat::from_fn(1, 4, |_, _| 1.0),
            right: vec![2.5],
            lower: vec![0.0; 4],
            upper: vec![1.0; 4],
        };
        let solution = program.solve().unwrap();
        let expected = [0.5, 1.0, 1.0, 0.0];
        assert!(solution.point.iter().zip(expected).all(|(z, e)| (z - e).abs() < 1e-7), "{:?}", solution.point);
        assert!((solution.bound - 4.5).abs() < 1e-7);
    }

    /// Only z = 0 meets z >= 0 and sum z = 0: the feasible set has no interior, as a black patch's has none.
    #[test]
    fn a_feasible_set_without_interior_is_found() {
        let program = Program {
            quadratic: vec![0.0; 5],
            linear: vec![-1.0; 5],
            matrix: Mat::from_fn(2, 5, |row, column| if row == 0 { 1.0 } else { column as f64 }),
            right: vec![0.0; 2],
            lower: vec![0.0; 5],
            upper: vec![1.0; 5],
        };
        let solution = program.solve().unwrap();
        assert!(solution.point.iter().all(|z| z.abs() < 1e-6), "{:?}", solution.point);
        assert!(solution.bound > -1e-5, "{}", solution.bound);
    }

    /// Unbounded entries with curvature: least squares with bounds, where one bound is active by construction.
    #[test]
    fn least_squares_with_a_free_residual() {
        // min (x - 2)^2 / 2 with x in [-1, 1]: r = x - 2 is free.
        let program = Program {
            quadratic: vec![0.0, 1.0],
            linear: vec![0.0; 2],
            matrix: Mat::from_fn(1, 2, |_, column| if column == 0 { 1.0 } else { -1.0 }),
            right: vec![2.0],
            lower: vec![-1.0, f64::NEG_INFINITY],
            upper: vec![1.0, f64::INFINITY],
        };
        let solution = program.solve().unwrap();
        assert!((solution.point[0] - 1.0).abs() < 1e-7 && (solution.bound - 0.5).abs() < 1e-7, "{solution:?}");
    }

    #[test]
    fn bad_programmes_are_refused() {
        let good = program(1, 2, 4, 0.0);
        let mut short = good.clone();
        short.linear.pop();
        let mut crossed = good.clone();
        crossed.lower[1] = crossed.upper[1] + 1.0;
        let mut nan = good.clone();
        nan.right[0] = f64::NAN;
        let mut infeasible = good;
        infeasible.right[0] += 1e3;
        for program in [short, crossed, nan, infeasible] {
            assert!(program.solve().is_err());
        }
    }
}
