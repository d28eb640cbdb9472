//! A bench made ready to be timed: its tensors on the device, and its plan.

use std::time::Duration;

use engine::device::timing::Flush;
use engine::rng::{Philox, STATE_WORDS};
use engine::{DType, Device, Phase, Plan, Profile, Result, Role, Spec, Store, Tape, Tensor, Value, Var, Work};
use kernels::adamw::{AdamW, AdamWStep, adamw};
use kernels::attention::attention;
use kernels::common::attack;
use kernels::common::decay::Decay;
use kernels::cross_entropy::cross_entropy;
use kernels::layer_norm::layer_norm;
use kernels::linear::{Activation, linear};
use kernels::linf_step::linf_step;
use kernels::residual::residual;
use kernels::sgd::{Sgd, SgdStep, sgd};
use kernels::stochastic_linear::{Entries, Matrix, Mean, stochastic_linear};
use kernels::stochastic_scale::{Distribution, Sharing, stochastic_scale};
use train::trainer::Trainer;

use super::model;
use super::noise::Noise;
use super::shapes::{Epilogue, Pass, Shape};

/// What is timed.
pub enum Ready {
    /// Launches of one phase of a plan, or all.
    Plan { store: Box<Store>, plan: Box<Plan>, phase: Option<Phase> },
    /// A training step with its attack.
    Train(Box<Trainer>),
}

impl Ready {
    pub fn new(shape: Shape, device: &Device, noise: &Noise) -> Result<Self> {
        if let Shape::Step { model, batch, pass } = shape {
            return model::ready(device, &model::config(model)?, batch, pass, noise);
        }
        let mut bench = Recorder { store: Store::new(device.clone())?, tape: Tape::new(), noise, inputs: 0 };
        let (keep, phase) = bench.record(shape)?;
        let Recorder { mut store, tape, .. } = bench;
        let plan = tape.plan_with(&mut store, &keep, false)?;
        Ok(Self::Plan { store: Box::new(store), plan: Box::new(plan), phase })
    }

    /// Time of one repetition, after `flush`.
    pub fn time(&mut self, flush: Option<&mut Flush>) -> Result<Duration> {
        let flush = || flush.map_or(Ok(()), Flush::run);
        match self {
            Self::Plan { store, plan, phase } => {
                let mut flush = Some(flush);
                store.device().clone().run(|| plan.time(store, *phase, || flush.take().map_or(Ok(()), |flush| flush())))
            }
            Self::Train(trainer) => {
                flush()?;
                trainer.device().clone().time(|| trainer.launch().map(drop))
            }
        }
    }

    /// Work of each launch that is timed. The steps of an attack are not in it.
    pub fn works(&self) -> Vec<Work> {
        match self {
            Self::Plan { plan, phase, .. } => plan.works(*phase).collect(),
            Self::Train(trainer) => trainer.plan().works(None).collect(),
        }
    }

    /// Time of each launch of a replay, its forward pass included; of a training step without its attack.
    pub fn profile(&mut self) -> Result<Profile> {
        match self {
            Self::Plan { store, plan, .. } => plan.profile(store),
            Self::Train(trainer) => trainer.profile(),
        }
    }

    /// Why launches take general kernels.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::Plan { plan, .. } => plan.notes(),
            Self::Train(trainer) => trainer.plan().notes(),
        }
    }
}

/// A tape with random inputs.
struct Recorder<'n> {
    store: Store,
    tape: Tape,
    noise: &'n Noise,
    inputs: usize,
}

/// What a plan keeps, and the phase that is timed.
type Recorded = (Vec<Value>, Option<Phase>);

impl Recorder<'_> {
    fn record(&mut self, shape: Shape) -> Result<Recorded> {
        match shape {
            Shape::Linear { m, n, k, epilogue, pass } => self.linear([m, n, k], epilogue, pass),
            Shape::Attention { batch, heads, tokens, width, pass } => {
                let qkv = self.stored(&[batch, tokens, 3 * heads * width], |x| x)?;
                let out = attention(&mut self.tape, qkv, heads)?;
                self.pass(out, &[qkv], pass)
            }
            Shape::LayerNorm { rows, width, pass } => {
                let x = self.stored(&[rows, width], |x| x)?;
                let (weight, bias) = (self.stored(&[width], |x| 1.0 + 0.1 * x)?, self.stored(&[width], |x| x)?);
                let out = layer_norm(&mut self.tape, x, weight, bias, 1e-6)?;
                self.pass(out, &[x, weight, bias], pass)
            }
            Shape::CrossEntropy { batch, classes, pass } => {
                let logits = self.wide(&[batch, classes], |x| x)?;
                #[expect(clippy::cast_precision_loss, reason = "a scale")]
                let targets = self.wide(&[batch, classes], move |x| x.abs() / classes as f32)?;
                let out = cross_entropy(&mut self.tape, logits, targets)?;
                self.pass(out, &[logits], pass)
            }
            Shape::Adamw { values } => self.adamw(values),
            Shape::Sgd { values } => {
                let states = [self.var(&[values], |x| x)?, self.var(&[values], |x| x)?];
                let (gradients, lr, clip) = (self.wide(&[values], |x| x)?, self.wide(&[1], |_| 1e-3)?, self.clip()?);
                let options = Sgd { momentum: 0.9, nesterov: false, decay: Decay::uniform(1e-4) };
                let step = SgdStep { params: states[0], momentum: Some(states[1]), gradients, lr, clip };
                sgd(&mut self.tape, &self.store, options, step)?;
                Ok((Vec::new(), None))
            }
            Shape::LinfStep { batch, side } => self.linf_step(&[batch, 3, side, side]),
            Shape::Scale { batch, tokens, width } => {
                let x = self.stored(&[batch, tokens, width], |x| x)?;
                let [state, ids] = self.random(batch)?;
                let law = Distribution::Uniform { half_width: 0.5 };
                let out = stochastic_scale(&mut self.tape, x, state, ids, law, Sharing::Batch, "scale")?;
                Ok((vec![out], None))
            }
            Shape::Matrix { batch, tokens, width, per_image } => {
                let [state, ids] = self.random(batch)?;
                let sharing = if per_image { Sharing::PerImage } else { Sharing::Batch };
                self.matrix([batch, tokens, width], width, sharing, [state, ids], "matrix").map(|out| (vec![out], None))
            }
            Shape::Draw { depth, width } => self.draw(depth, width),
            // A step is no plan of one op; see `Ready::new`.
            Shape::Step { .. } => Ok((Vec::new(), None)),
        }
    }

    fn linear(&mut self, [m, n, k]: [usize; 3], epilogue: Epilogue, pass: Pass) -> Result<Recorded> {
        #[expect(clippy::cast_precision_loss, reason = "a scale")]
        let scale = 1.0 / (k as f32).sqrt();
        let (x, weight) = (self.stored(&[m, k], |x| x)?, self.stored(&[n, k], move |x| scale * x)?);
        let bias = if epilogue == Epilogue::None { None } else { Some(self.stored(&[n], |x| x)?) };
        let activation = (epilogue == Epilogue::BiasGelu).then_some(Activation::Gelu);
        let mut out = linear(&mut self.tape, x, weight, bias, activation)?;
        if epilogue == Epilogue::BiasResidual {
            let skip = self.stored(&[m, n], |x| x)?;
            out = residual(&mut self.tape, skip, out, None)?;
        }
        let all: Vec<Value> = [x, weight].into_iter().chain(bias).collect();
        match pass {
            Pass::Dx => self.pass(out, &[x], Pass::Backward),
            Pass::Dw => self.pass(out, &[weight], Pass::Backward),
            // Forward of a training step: it stores what backward needs.
            Pass::Forward if activation.is_some() => {
                let (keep, _) = self.pass(out, &all, Pass::Backward)?;
                Ok((keep, Some(Phase::Forward)))
            }
            _ => self.pass(out, &all, pass),
        }
    }

    /// Forward alone, or the gradients of `leaves` for a random gradient of `out`.
    fn pass(&mut self, out: Value, leaves: &[Value], pass: Pass) -> Result<Recorded> {
        if pass == Pass::Forward {
            return Ok((vec![out], None));
        }
        let spec = self.tape.spec(out)?;
        let seed = self.input(spec, |x| x)?;
        let gradients = self.tape.backward(out, Some(seed), leaves, &[])?.values;
        Ok((gradients, Some(Phase::Backward)))
    }

    fn adamw(&mut self, values: usize) -> Result<Recorded> {
        let [params, first_moment] = [self.var(&[values], |x| x)?, self.var(&[values], |x| 0.1 * x)?];
        let second_moment = self.var(&[values], |x| 0.1 * x * x)?;
        let steps = self.store.constant("steps", Role::Data, &Tensor::new(&[1], &[10_u32])?)?;
        let (gradients, lr, clip) = (self.wide(&[values], |x| x)?, self.wide(&[1], |_| 1e-3)?, self.clip()?);
        let step = AdamWStep { params, first_moment, second_moment, steps, gradients, lr, clip };
        adamw(&mut self.tape, &self.store, AdamW::default(), step)?;
        Ok((Vec::new(), None))
    }

    fn linf_step(&mut self, dims: &[usize]) -> Result<Recorded> {
        let delta = self.var(dims, |x| 0.01 * x.clamp(-3.0, 3.0))?;
        let (gradient, images) = (self.wide(dims, |x| x)?, self.wide(dims, |x| x.abs().min(1.0))?);
        let (eps, alpha) = (self.wide(&[1], |_| 8.0 / 255.0)?, self.wide(&[1], |_| 2.0 / 255.0)?);
        let step = attack::Step { delta, gradient, images, eps, alpha, active: None };
        linf_step(&mut self.tape, &self.store, step)?;
        Ok((Vec::new(), None))
    }

    fn draw(&mut self, depth: usize, width: usize) -> Result<Recorded> {
        let random = self.random(1)?;
        let mut keep = Vec::new();
        for block in 0..depth {
            let layers = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)];
            for (layer, (from, to)) in layers.into_iter().enumerate() {
                let name = format!("{block}.{layer}");
                keep.push(self.matrix([1, 1, from], to, Sharing::Batch, random, &name)?);
            }
        }
        Ok((keep, None))
    }

    fn matrix(
        &mut self,
        dims: [usize; 3],
        width: usize,
        sharing: Sharing,
        [state, ids]: [Value; 2],
        name: &str,
    ) -> Result<Value> {
        let x = self.stored(&dims, |x| x)?;
        let matrix = Matrix { width, entries: Entries::Normal, mean: Mean::Zero, sigma: 1.0, sharing };
        stochastic_linear(&mut self.tape, x, state, ids, matrix, name)
    }

    /// Random state, and ids of `batch` samples.
    fn random(&mut self, batch: usize) -> Result<[Value; 2]> {
        let ids = Tensor::from_fn(&[batch], |i| u32::try_from(i).unwrap_or(u32::MAX))?;
        let state = Tensor::new(&[STATE_WORDS], &Philox::state(0, 0))?;
        let ids = self.store.constant("ids", Role::Data, &ids)?;
        let state = self.store.constant("state", Role::Data, &state)?;
        Ok([self.tape.var(&self.store, state)?, self.tape.var(&self.store, ids)?])
    }

    /// Norm and factor of a gradient that is not clipped.
    fn clip(&mut self) -> Result<Value> {
        self.wide(&[2], |_| 1.0)
    }

    /// A tensor of a network, in the device's storage type.
    fn stored(&mut self, dims: &[usize], shaped: impl Fn(f32) -> f32) -> Result<Value> {
        let storage = self.store.device().storage();
        self.input(Spec::new(storage, dims)?, shaped)
    }

    fn wide(&mut self, dims: &[usize], shaped: impl Fn(f32) -> f32) -> Result<Value> {
        self.input(Spec::new(DType::F32, dims)?, shaped)
    }

    fn input(&mut self, spec: Spec, shaped: impl Fn(f32) -> f32) -> Result<Value> {
        let var = self.variable(spec, shaped)?;
        self.tape.var(&self.store, var)
    }

    fn var(&mut self, dims: &[usize], shaped: impl Fn(f32) -> f32) -> Result<Var> {
        self.variable(Spec::new(DType::F32, dims)?, shaped)
    }

    fn variable(&mut self, spec: Spec, shaped: impl Fn(f32) -> f32) -> Result<Var> {
        self.inputs += 1;
        let tensor = self.noise.tensor(spec, self.inputs, shaped)?;
        self.store.constant(&format!("input{}", self.inputs), Role::Data, &tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::suite::shapes;

    #[test]
    fn every_bench_runs_and_counts_its_work() {
        let (device, noise) = (Device::cpu(Some(1)).unwrap(), Noise::new());
        for bench in shapes::all(true) {
            let mut ready = Ready::new(bench.shape, &device, &noise).unwrap();
            assert!(ready.time(None).unwrap() > Duration::ZERO, "{}", bench.name);
            let work: Work = ready.works().into_iter().sum();
            assert!(work.bytes > 0, "{}", bench.name);
            if let Shape::Linear { m, n, k, epilogue: Epilogue::None, .. } = bench.shape {
                assert_eq!((work.flops, ready.works().len()), (Work::new(2 * m * n * k, 0).flops, 1), "{}", bench.name);
            }
        }
    }

    #[test]
    fn each_pass_of_a_product_gives_what_its_name_says() {
        let noise = Noise::new();
        let shape = |pass, epilogue| Shape::Linear { m: 5, n: 3, k: 7, epilogue, pass };
        let results = |shape| {
            let store = Store::new(Device::cpu(Some(1)).unwrap()).unwrap();
            let mut bench = Recorder { store, tape: Tape::new(), noise: &noise, inputs: 0 };
            let (keep, phase) = bench.record(shape).unwrap();
            let dims = |&value: &Value| bench.tape.spec(value).unwrap().dims().to_vec();
            (keep.iter().map(dims).collect::<Vec<_>>(), phase)
        };
        let (plain, gelu) = (Epilogue::None, Epilogue::BiasGelu);
        assert_eq!(results(shape(Pass::Forward, plain)), (vec![vec![5, 3]], None));
        assert_eq!(results(shape(Pass::Dx, plain)), (vec![vec![5, 7]], Some(Phase::Backward)));
        assert_eq!(results(shape(Pass::Dw, plain)), (vec![vec![3, 7]], Some(Phase::Backward)));
        let all = vec![vec![5, 7], vec![3, 7], vec![3]];
        assert_eq!(results(shape(Pass::Backward, gelu)), (all.clone(), Some(Phase::Backward)));
        // Forward stores what backward needs of it.
        assert_eq!(results(shape(Pass::Forward, gelu)), (all, Some(Phase::Forward)));
    }
}
