//! Records one step of each attack.

use engine::{DType, Error, Real, Result, Role, Store, Tape, Tensor, Value, Var};
use kernels::advance::advance;
use kernels::apgd_check::{self, apgd_check};
use kernels::apgd_step::{Iterates, apgd_step};
use kernels::attack_watch::{self, attack_watch};
use kernels::combine::combine;
use kernels::common::attack::Step;
use kernels::common::progress::Ball;
use kernels::cross_entropy::cross_entropy;
use kernels::dlr::dlr;
use kernels::fab_choose::{Nearest, fab_choose};
use kernels::fab_look::{self, fab_look};
use kernels::fab_step::{self, fab_step};
use kernels::l2_step::l2_step;
use kernels::linf_step::linf_step;
use kernels::margin::margin;
use kernels::square_keep::square_keep;
use kernels::square_try::{self, Draws, Origin, Search, square_try};
use kernels::targeted::{Scale, targeted};
use models::Vit;
use models::vit::Run;

use super::slots::{Machine, schedule};
use super::stage::{Apgd, ApgdLoss, Fab, Square, Stage};
use crate::attack::{AttackConfig, Norm, Objective};
use crate::inputs::Inputs;

/// What is ascended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    Ce,
    Margin,
    Dlr,
    DlrTargeted,
    Difference,
}

/// What the recorders of one machine share.
struct Recorder<'a> {
    store: &'a mut Store,
    model: &'a Vit,
    inputs: Inputs,
    targets: Var,
    random: Var,
}

/// A pass of the network over a batch.
#[derive(Clone, Copy)]
struct Pass {
    /// Perturbation of the images.
    at: Var,
    /// Draws of a stochastic model; for 0 its mean network is seen once.
    draws: u32,
    /// Begins the names of random streams: passes of one tape draw each their own values.
    tag: &'static str,
}

impl Pass {
    fn new(at: Var, draws: u32) -> Self {
        Self { at, draws, tag: "" }
    }
}

/// Mean over draws of what an attack looks at.
struct Seen {
    /// `[b]`
    loss: Value,
    /// `[b]`
    margin: Value,
    /// [b, ...], where it was asked for.
    gradient: Option<Value>,
}

pub(super) fn ball(norm: Norm) -> Ball {
    match norm {
        Norm::Linf => Ball::Linf,
        Norm::L2 => Ball::L2,
    }
}

/// Records `stage` for batches of `batch`.
///
/// # Errors
/// Out of memory.
pub(super) fn machine(store: &mut Store, model: &Vit, stage: &Stage, batch: usize) -> Result<Machine> {
    let recorder = Recorder::new(store, model, batch)?;
    match stage {
        Stage::Pgd(config) => recorder.pgd(config),
        Stage::Apgd(apgd) => recorder.apgd(apgd),
        Stage::Fab(fab) => recorder.fab(fab),
        Stage::Square(square) => recorder.square(square),
    }
}

impl<'a> Recorder<'a> {
    fn new(store: &'a mut Store, model: &'a Vit, batch: usize) -> Result<Self> {
        let inputs = Inputs::new(store, model.config(), batch)?;
        let targets = store.data_var("attack.targets", DType::I32, &[batch])?;
        let random = store.data_var("attack.random", DType::U32, &[engine::rng::STATE_WORDS])?;
        Ok(Self { store, model, inputs, targets, random })
    }

    fn progress(&mut self, columns: usize) -> Result<Var> {
        self.store.data_var("attack.progress", DType::F32, &[self.inputs.batch, columns])
    }

    /// A variable of the images' shape.
    fn like_images(&mut self, name: &str) -> Result<Var> {
        let spec = self.store.spec(self.inputs.images)?;
        self.store.single(name, Role::Data, spec)
    }

    fn scalar(&mut self, name: &str, value: f64) -> Result<Var> {
        self.store.constant(name, Role::Data, &Tensor::new(&[1], &[value])?.cast::<f32>()?)
    }

    fn loss(&self, tape: &mut Tape, logits: Value, loss: Loss) -> Result<Value> {
        let labels = tape.var(self.store, self.inputs.labels)?;
        let toward = |tape: &mut Tape, scale| {
            let targets = tape.var(self.store, self.targets)?;
            targeted(tape, logits, labels, targets, scale)
        };
        match loss {
            Loss::Ce => {
                let targets = tape.var(self.store, self.inputs.targets)?;
                cross_entropy(tape, logits, targets)
            }
            Loss::Margin => margin(tape, logits, labels, None),
            Loss::Dlr => dlr(tape, logits, labels),
            Loss::DlrTargeted => toward(tape, Scale::Dlr),
            Loss::Difference => toward(tape, Scale::None),
        }
    }

    /// Logits of the perturbed images, one per draw, with their weight in a mean.
    fn outputs(&self, tape: &mut Tape, pass: Pass) -> Result<Vec<(f32, Value)>> {
        let random = self.inputs.draws(tape, self.store, self.random)?;
        let images = tape.var(self.store, self.inputs.images)?;
        let delta = tape.var(self.store, pass.at)?;
        let weight = f32::from_f64(1.0 / f64::from(pass.draws.max(1)));
        let draw = |draw: u32| {
            let tag = if pass.draws > 1 { format!("{}eot{draw}.", pass.tag) } else { pass.tag.to_owned() };
            let run = Run { random: Some(random), stochastic: pass.draws > 0, tag: &tag, ..Run::default() };
            let attacked = combine(tape, &[(1.0, images), (1.0, delta)])?;
            let logits = tape.scope(format!("attack.{tag}").trim_end_matches('.'), |tape| {
                Ok(self.model.forward(tape, self.store, attacked, &run)?.logits)
            })?;
            Ok((weight, logits))
        };
        (0..pass.draws.max(1)).map(draw).collect()
    }

    /// Looks at the perturbed images. Gradients are averaged over draws before anything is made of them.
    fn look(&self, tape: &mut Tape, pass: Pass, loss: Loss, wants_gradient: bool) -> Result<Seen> {
        let labels = tape.var(self.store, self.inputs.labels)?;
        let delta = tape.var(self.store, pass.at)?;
        let (mut losses, mut margins, mut gradients) = (Vec::new(), Vec::new(), Vec::new());
        for (weight, logits) in self.outputs(tape, pass)? {
            let one = self.loss(tape, logits, loss)?;
            losses.push((weight, one));
            margins.push((weight, margin(tape, logits, labels, None)?));
            if wants_gradient {
                let found = tape.gradients(one, &[delta])?;
                let gradient = found.first().ok_or_else(|| Error::new("attack", "no gradient"))?;
                gradients.push((weight, *gradient));
            }
        }
        Ok(Seen {
            loss: mean(tape, &losses)?,
            margin: mean(tape, &margins)?,
            gradient: if wants_gradient { Some(mean(tape, &gradients)?) } else { None },
        })
    }

    fn finish(
        self,
        mut tape: Tape,
        state: Vec<Var>,
        result: usize,
        progress: Var,
        passes: [u32; 2],
    ) -> Result<Machine> {
        advance(&mut tape, self.store, &[self.random])?;
        let step = tape.plan(self.store, &[])?;
        let Self { inputs, targets, random, .. } = self;
        Ok(Machine { inputs, targets, random, state, result, progress, step, passes })
    }

    fn pgd(mut self, config: &AttackConfig) -> Result<Machine> {
        let progress = self.progress(attack_watch::COLUMNS)?;
        let active = self.store.data_var("attack.active", DType::F32, &[self.inputs.batch])?;
        let (eps, alpha) =
            (self.scalar("attack.eps", config.eps.value())?, self.scalar("attack.alpha", config.alpha.value())?);
        let delta = self.inputs.delta;
        let mut tape = Tape::new();
        let loss = match config.objective {
            Objective::Ce => Loss::Ce,
            Objective::Margin => Loss::Margin,
            Objective::Kl => {
                return Err(Error::new("attack", "the divergence from the clean output belongs to training"));
            }
        };
        let draws = if config.stochastic { config.eot } else { 0 };
        let seen = self.look(&mut tape, Pass::new(delta, draws), loss, true)?;
        let limit = attack_watch::Limit { steps: config.steps, stop: true };
        attack_watch(&mut tape, self.store, limit, progress, active, seen.margin)?;
        let step = Step {
            delta,
            gradient: seen.gradient.ok_or_else(|| Error::new("attack", "no gradient"))?,
            images: tape.var(self.store, self.inputs.images)?,
            eps: tape.var(self.store, eps)?,
            alpha: tape.var(self.store, alpha)?,
            active: Some(tape.var(self.store, active)?),
        };
        match config.norm {
            Norm::Linf => linf_step(&mut tape, self.store, step)?,
            Norm::L2 => l2_step(&mut tape, self.store, step)?,
        }
        let passes = [draws.max(1); 2];
        self.finish(tape, vec![delta], 0, progress, passes)
    }

    fn apgd(mut self, apgd: &Apgd) -> Result<Machine> {
        let progress = self.progress(apgd_check::COLUMNS)?;
        let iterates = Iterates {
            delta: self.inputs.delta,
            before: self.like_images("attack.before")?,
            best: self.like_images("attack.best")?,
            best_gradient: self.like_images("attack.best_gradient")?,
            fooling: self.like_images("attack.fooling")?,
        };
        let loss = match apgd.loss {
            ApgdLoss::Ce => Loss::Ce,
            ApgdLoss::Dlr => Loss::Dlr,
            ApgdLoss::Targeted => Loss::DlrTargeted,
        };
        let mut tape = Tape::new();
        let seen = self.look(&mut tape, Pass::new(iterates.delta, apgd.eot), loss, true)?;
        let gradient = seen.gradient.ok_or_else(|| Error::new("attack", "no gradient"))?;
        apgd_check(&mut tape, self.store, schedule(apgd), progress, seen.loss, seen.margin)?;
        let (images, rows) = (tape.var(self.store, self.inputs.images)?, tape.var(self.store, progress)?);
        apgd_step(&mut tape, self.store, ball(apgd.norm), iterates, gradient, images, rows)?;
        let Iterates { delta, before, best, best_gradient, fooling } = iterates;
        self.finish(tape, vec![delta, before, best, best_gradient, fooling], 4, progress, [apgd.eot.max(1); 2])
    }

    fn fab(mut self, fab: &Fab) -> Result<Machine> {
        let progress = self.progress(fab_look::COLUMNS)?;
        let (delta, nearest) = (self.inputs.delta, self.like_images("attack.nearest")?);
        let (here, mut backward) = (Pass::new(delta, fab.eot), fab.eot.max(1));
        let mut tape = Tape::new();
        let [gradient, difference] = if fab.targets == 0 {
            backward = backward.saturating_mul(u32::try_from(self.model.config().classes).unwrap_or(u32::MAX));
            self.nearest_boundary(&mut tape, here, fab.norm)?
        } else {
            let seen = self.look(&mut tape, here, Loss::Difference, true)?;
            [seen.gradient.ok_or_else(|| Error::new("attack", "no gradient"))?, seen.loss]
        };
        let (images, rows) = (tape.var(self.store, self.inputs.images)?, tape.var(self.store, progress)?);
        let origin = fab_step::Origin { gradient, difference, images, progress: rows };
        fab_step(&mut tape, self.store, ball(fab.norm), delta, origin)?;
        // Nearly every iterate is misclassified, and the attack goes on from elsewhere: a gradient here would be thrown away.
        let seen = self.look(&mut tape, Pass { tag: "look.", ..here }, Loss::Margin, false)?;
        let limit = fab_look::Limit { steps: fab.steps, stop: !fab.nearest };
        fab_look(&mut tape, self.store, ball(fab.norm), limit, [delta, nearest, progress], seen.margin)?;
        let passes = [fab.eot.max(1).saturating_mul(2), backward];
        self.finish(tape, vec![delta, nearest], 1, progress, passes)
    }

    /// Gradient and difference of logits at the boundary that is nearest to the iterate: one backward pass per class and draw.
    fn nearest_boundary(&mut self, tape: &mut Tape, pass: Pass, norm: Norm) -> Result<[Value; 2]> {
        let b = self.inputs.batch;
        let kept = Nearest {
            gradient: self.like_images("attack.boundary")?,
            difference: self.store.data_var("attack.boundary_difference", DType::F32, &[b])?,
            distance: self.store.data_var("attack.boundary_distance", DType::F32, &[b])?,
        };
        let labels = tape.var(self.store, self.inputs.labels)?;
        let delta = tape.var(self.store, pass.at)?;
        let outputs = self.outputs(tape, pass)?;
        let classes = self.model.config().classes;
        for class in (0..u32::try_from(classes).unwrap_or(u32::MAX)).zip(0_i32..) {
            let goals = Tensor::new(&[b], &vec![class.1; b])?;
            let goals = self.store.constant(&format!("attack.class{}", class.0), Role::Data, &goals)?;
            let goals = tape.var(self.store, goals)?;
            let (mut differences, mut gradients) = (Vec::new(), Vec::new());
            for &(weight, logits) in &outputs {
                let difference = targeted(tape, logits, labels, goals, Scale::None)?;
                let found = tape.gradients(difference, &[delta])?;
                gradients.push((weight, *found.first().ok_or_else(|| Error::new("attack", "no gradient"))?));
                differences.push((weight, difference));
            }
            let found = [mean(tape, &gradients)?, mean(tape, &differences)?, labels];
            fab_choose(tape, self.store, ball(norm), class.0, kept, found)?;
        }
        Ok([tape.var(self.store, kept.gradient)?, tape.var(self.store, kept.difference)?])
    }

    fn square(mut self, square: &Square) -> Result<Machine> {
        let progress = self.progress(square_try::COLUMNS)?;
        let (best, trial) = (self.like_images("attack.best")?, self.inputs.delta);
        let [h, w] = self.model.config().image;
        let shapes = square_try::pyramids(h, w);
        let shapes = Tensor::new(&[shapes.len()], &shapes)?.cast::<f32>()?;
        let pyramids = self.store.constant("attack.pyramids", Role::Data, &shapes)?;
        let search = Search { ball: ball(square.norm), draws: if square.shared { Draws::Shared } else { Draws::Own } };
        let mut tape = Tape::new();
        let origin = Origin {
            best: tape.var(self.store, best)?,
            images: tape.var(self.store, self.inputs.images)?,
            ids: tape.var(self.store, self.inputs.ids)?,
            progress: tape.var(self.store, progress)?,
            state: tape.var(self.store, self.random)?,
            pyramids: tape.var(self.store, pyramids)?,
        };
        square_try(&mut tape, self.store, search, trial, origin, "attack.square")?;
        let seen = self.look(&mut tape, Pass::new(trial, square.eot), Loss::Margin, false)?;
        let tried = tape.var(self.store, trial)?;
        square_keep(&mut tape, self.store, square.queries, best, progress, tried, seen.margin)?;
        self.finish(tape, vec![best], 0, progress, [square.eot.max(1), 0])
    }
}

/// The weighted sum; a single value of weight 1 as it is.
fn mean(tape: &mut Tape, terms: &[(f32, Value)]) -> Result<Value> {
    match terms {
        [(_, value)] => Ok(*value),
        terms => combine(tape, terms),
    }
}

#[cfg(test)]
mod tests {
    use engine::Device;
    use models::stochastic::{Distribution, Sharing, Stochastic, StochasticLayer};
    use models::{VitConfig, init, registry};

    use super::*;
    use crate::eps::Eps;

    fn stochastic() -> (Store, Vit) {
        let distribution = Distribution::Normal { std: 0.5 };
        let config = VitConfig {
            image: [16, 16],
            patch: 8,
            width: 16,
            depth: 1,
            heads: 1,
            head_width: 16,
            mlp_width: 16,
            classes: 4,
            stochastic: Some(Stochastic { layer: StochasticLayer::Scale, distribution, sharing: Sharing::PerImage }),
            ..registry::lookup("vit_tiny_patch16_224").unwrap()
        };
        let mut store = Store::new(Device::cpu(Some(1)).unwrap()).unwrap();
        let tensors = init::init(&config, 1).unwrap();
        let model = Vit::new(&mut store, "params", config, &tensors, DType::F32).unwrap();
        (store, model)
    }

    #[test]
    fn passes_of_other_names_draw_other_values() {
        let (mut store, model) = stochastic();
        let recorder = Recorder::new(&mut store, &model, 2).unwrap();
        let mut tape = Tape::new();
        let here = Pass::new(recorder.inputs.delta, 1);
        let passes = [here, here, Pass { tag: "look.", ..here }, Pass { draws: 2, ..here }];
        let logits: Vec<Value> = passes
            .iter()
            .chain(&[Pass { tag: "look.", draws: 2, ..here }])
            .flat_map(|&pass| recorder.outputs(&mut tape, pass).unwrap())
            .map(|(_, logits)| logits)
            .collect();
        let plan = tape.plan(recorder.store, &logits).unwrap();
        plan.replay(recorder.store).unwrap();
        let drawn: Vec<Tensor> = logits.iter().map(|&logits| plan.read(recorder.store, logits).unwrap()).collect();
        assert_eq!((drawn.len(), &drawn[0]), (7, &drawn[1]));
        for (at, one) in drawn.iter().enumerate().skip(1) {
            assert!(drawn[at + 1..].iter().all(|other| other != one), "pass {at} draws what another one draws");
        }
    }

    #[test]
    fn a_step_of_fab_ends_in_a_pass_of_its_own_without_a_gradient() {
        for (targets, draws) in [(2, 1), (0, 1), (2, 2)] {
            let (mut store, model) = stochastic();
            let fab = Fab { targets, eot: draws, ..Fab::new(Norm::Linf, Eps::fraction(8, 255)) };
            let machine = machine(&mut store, &model, &Stage::Fab(fab), 2).unwrap();
            let listing = machine.step.to_string();
            // The classifier's launches tell passes from each other: one of each pass.
            let heads = |phase: &str, pass: &str| {
                let of = |line: &&str| line.contains(phase) && line.contains(pass) && line.contains(".head: linear");
                listing.lines().filter(of).count()
            };
            let backward = usize::try_from(draws * if targets == 0 { 4 } else { 1 }).unwrap();
            let draws = usize::try_from(draws).unwrap();
            assert_eq!((heads(" forward ", "attack."), heads(" forward ", "attack.look.")), (2 * draws, draws));
            assert_eq!((heads(" backward ", "attack."), heads(" backward ", "attack.look.")), (backward, 0));
            assert_eq!(machine.passes, [2 * draws, backward].map(|passes| u32::try_from(passes).unwrap()));
        }
    }
}
