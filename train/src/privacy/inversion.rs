//! Feature inversion: `min over x in [0, 1] of |f_l(x) - f_l(x*)|² / |f_l(x*)|² + tv TV(x)`, by Adam from noise.
//!
//! `f_l` are all tokens after l blocks, as a client would send them to a server. The squared distance is divided by the
//! released features' own, so that one `tv` serves all layers. Where the model has stochastic layers (2112.15111), features
//! are released as the mean of so many draws, and the attacker, who doesn't know them, descends the mean over draws of his
//! own, or the mean network.

use engine::rng::Philox;
use engine::{DType, Device, Error, Plan, Result, Store, Tape, Tensor, Value, Var};
use kernels::cast::cast;
use kernels::mse::squared_distance;
use models::vit::{Random, Run};
use models::{Vit, VitConfig};
use serde::{Deserialize, Serialize};

use super::descent::{Descent, Images};

/// Which features, and how they are inverted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InversionConfig {
    /// Blocks before the features; 0 for the embedded patches.
    pub block: usize,
    /// Draws of the stochastic layers whose mean is released; 0 releases the mean network's.
    pub release: u32,
    /// Draws that the attacker averages in each step; 0 attacks the mean network.
    pub draws: u32,
    /// Steps, rate and total variation.
    pub descent: Descent,
}

/// Images found from features.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inverted {
    /// [n, c, h, w] in [0, 1].
    #[serde(skip)]
    pub images: Vec<f32>,
    /// Relative squared distance of features at the last step, for each image.
    pub distances: Vec<f64>,
    /// Its mean over images at each step.
    pub curve: Vec<f64>,
}

/// Plans that invert the features of one model.
pub struct Inverter {
    store: Store,
    config: InversionConfig,
    dims: [usize; 3],
    batch: usize,
    seed: u64,
    images: Var,
    target: Var,
    ids: Var,
    random: Var,
    /// Features of the images: with draws, and of the mean network.
    features: [(Plan, Value); 2],
    /// Distances and their gradient: with draws, and of the mean network.
    gradients: [(Plan, Value, Value); 2],
}

/// The attacker's draws begin here: he knows the noise of no release.
const ATTACKER: u32 = 1 << 16;

impl Inverter {
    /// Plans for batches of `batch` images.
    ///
    /// # Errors
    /// A layer that the model doesn't have, draws where it has no stochastic layers, or out of memory.
    pub fn new(
        device: &Device,
        model: &VitConfig,
        tensors: &[(String, Tensor)],
        batch: usize,
        config: InversionConfig,
        seed: u64,
    ) -> Result<Self> {
        if model.stochastic.is_none() && (config.release > 0 || config.draws > 0) {
            return Err(Error::new("inversion", "draws of a model without stochastic layers")
                .with("release", config.release)
                .with("draws", config.draws)
                .help("give 0 for both"));
        }
        let mut store = Store::new(device.clone())?;
        let vit = Vit::new(&mut store, "params", model.clone(), tensors, DType::F32)?;
        let dims = [model.channels, model.image[0], model.image[1]];
        let images = store.data_var("images", DType::F32, &[&[batch], &dims[..]].concat())?;
        let target = store.data_var("released", DType::F32, &[batch, model.tokens(), model.width])?;
        let ids = store.data_var("ids", DType::U32, &[batch])?;
        let random = store.data_var("random", DType::U32, &[engine::rng::STATE_WORDS])?;
        let mut record = |stochastic: bool, attack: bool| {
            let mut tape = Tape::new();
            let x = tape.var(&store, images)?;
            let state = Random { state: tape.var(&store, random)?, ids: tape.var(&store, ids)? };
            let run = Run { random: Some(state), stochastic, ..Run::default() };
            let found = vit.hidden(&mut tape, &store, x, config.block, &run)?;
            let found = cast(&mut tape, found, DType::F32)?;
            if !attack {
                return Ok((tape.plan(&mut store, &[found])?, found, found));
            }
            let target = tape.var(&store, target)?;
            let distance = squared_distance(&mut tape, found, target)?;
            let gradient = tape.gradients(distance, &[x])?;
            let gradient = *gradient.first().ok_or_else(|| Error::new("inversion", "no gradient"))?;
            Ok((tape.plan(&mut store, &[distance, gradient])?, distance, gradient))
        };
        let gradients = [record(true, true)?, record(false, true)?];
        let features = [record(true, false)?, record(false, false)?].map(|(plan, value, _)| (plan, value));
        Ok(Self { store, config, dims, batch, seed, images, target, ids, random, features, gradients })
    }

    /// Releases the features of images [n, c, h, w] and finds images from them.
    ///
    /// # Errors
    /// The images and ids do not match, or the device failed.
    pub fn run(&mut self, images: &[f32], ids: &[u32]) -> Result<Inverted> {
        let volume: usize = self.dims.iter().product();
        if ids.is_empty() || images.len() != ids.len() * volume {
            return Err(Error::new("inversion", "needs one id per image")
                .with("values", images.len())
                .with("ids", ids.len())
                .with("image [c, h, w]", format!("{:?}", self.dims)));
        }
        let steps = usize::try_from(self.config.descent.steps).unwrap_or(usize::MAX);
        let mut all = Inverted { images: Vec::new(), distances: Vec::new(), curve: vec![0.0; steps] };
        for (images, ids) in images.chunks(self.batch * volume).zip(ids.chunks(self.batch)) {
            let (found, distances) = self.invert(images, ids)?;
            all.images.extend(found.f32());
            all.distances.extend(distances.iter().filter_map(|row| row.last()));
            for row in &distances {
                all.curve.iter_mut().zip(row).for_each(|(sum, distance)| *sum += distance);
            }
        }
        let count = all.distances.len().max(1) as f64;
        all.curve.iter_mut().for_each(|sum| *sum /= count);
        Ok(all)
    }

    /// One batch: images, and the distances of each at every step.
    fn invert(&mut self, images: &[f32], ids: &[u32]) -> Result<(Images, Vec<Vec<f64>>)> {
        let padding = vec![u32::MAX; self.batch - ids.len()];
        self.store.write_values(self.ids, &[ids, &padding].concat())?;
        let released = self.release(images)?;
        let width = released.len() / self.batch;
        let sizes: Vec<f64> = released.chunks_exact(width).map(squares).map(|size| size.max(1e-30)).collect();
        self.store.write_values(self.target, &released)?;
        let mut found = Images::noise(self.seed, ids, self.dims);
        let mut distances = vec![Vec::new(); ids.len()];
        for step in 0..self.config.descent.steps {
            let (values, mut gradient) = self.gradient(&found.f32(), step)?;
            let volume = gradient.len() / self.batch;
            gradient.truncate(ids.len() * volume);
            for (gradient, size) in gradient.chunks_exact_mut(volume).zip(&sizes) {
                gradient.iter_mut().for_each(|g| *g /= size);
            }
            for ((row, value), size) in distances.iter_mut().zip(values).zip(&sizes) {
                row.push(value / size);
            }
            found.step(&gradient, &self.config.descent);
        }
        Ok((found, distances))
    }

    fn write(&mut self, images: &[f32]) -> Result<()> {
        let mut images = images.to_vec();
        images.resize(self.batch * self.dims.iter().product::<usize>(), 0.0);
        self.store.write_values(self.images, &images)
    }

    /// What the owner of the images releases: the mean of so many draws.
    fn release(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        self.write(images)?;
        let draws = self.config.release;
        let (plan, value) = &self.features[usize::from(draws == 0)];
        let mut mean: Vec<f64> = Vec::new();
        for draw in 0..draws.max(1) {
            self.store.write_values(self.random, &Philox::state(self.seed, draw))?;
            plan.replay(&mut self.store)?;
            add(&mut mean, &plan.read(&self.store, *value)?.to_f64(), 1.0 / f64::from(draws.max(1)));
        }
        Ok(mean.into_iter().map(crate::nullspace::exact::rounded).collect())
    }

    /// Squared distances `[b]` and their gradient, the mean over the attacker's draws.
    fn gradient(&mut self, images: &[f32], step: u32) -> Result<(Vec<f64>, Vec<f64>)> {
        self.write(images)?;
        let draws = self.config.draws;
        let (plan, distance, gradient) = &self.gradients[usize::from(draws == 0)];
        let (mut distances, mut gradients) = (Vec::new(), Vec::new());
        for draw in 0..draws.max(1) {
            let number = ATTACKER.wrapping_add(step.wrapping_mul(draws.max(1))).wrapping_add(draw);
            self.store.write_values(self.random, &Philox::state(self.seed, number))?;
            plan.replay(&mut self.store)?;
            let share = 1.0 / f64::from(draws.max(1));
            add(&mut distances, &plan.read(&self.store, *distance)?.to_f64(), share);
            add(&mut gradients, &plan.read(&self.store, *gradient)?.to_f64(), share);
        }
        Ok((distances, gradients))
    }
}

fn add(sum: &mut Vec<f64>, values: &[f64], share: f64) {
    sum.resize(values.len(), 0.0);
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * value);
}

fn squares(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use models::stochastic::Stochastic;
    use models::{init, registry};

    use super::super::quality::Quality;
    use super::*;

    fn model(stochastic: Option<Stochastic>) -> (VitConfig, Vec<(String, Tensor)>) {
        let base = registry::lookup("vit_tiny_patch16_224").unwrap();
        let config = VitConfig {
            image: [12, 12],
            patch: 4,
            width: 64,
            depth: 2,
            heads: 2,
            head_width: 32,
            mlp_width: 64,
            classes: 4,
            stochastic,
            ..base
        };
        let tensors = init::init(&config, 3).unwrap();
        (config, tensors)
    }

    const HOW: InversionConfig = InversionConfig {
        block: 1,
        release: 0,
        draws: 0,
        descent: Descent { steps: 150, lr: 0.05, tv: 0.0, signed: false, decay: true },
    };
    const DIMS: [usize; 3] = [3, 12, 12];

    fn images(count: u32) -> (Vec<f32>, Vec<u32>) {
        let ids: Vec<u32> = (10..10 + count).collect();
        (Images::noise(77, &ids, DIMS).f32(), ids)
    }

    #[test]
    fn early_features_give_the_image_away_in_any_batching() {
        let (config, tensors) = model(None);
        let device = Device::cpu(Some(1)).unwrap();
        let (originals, ids) = images(3);
        let run = |batch: usize| {
            Inverter::new(&device, &config, &tensors, batch, HOW, 5).unwrap().run(&originals, &ids).unwrap()
        };
        let (two, three) = (run(2), run(3));
        assert_eq!(two.images, three.images);
        let start = Quality::of(&originals, &Images::noise(5, &ids, DIMS).f32(), DIMS).unwrap();
        let end = Quality::of(&originals, &two.images, DIMS).unwrap();
        assert!(end.mean_psnr > start.mean_psnr + 10.0, "{} from {}", end.mean_psnr, start.mean_psnr);
        assert_eq!(end.reidentified, Some(1.0));
        assert!(two.curve[149] < 1e-2 * two.curve[0], "{:?}", two.curve);
        assert!(two.images.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
    }

    #[test]
    fn draws_hide_what_their_mean_reveals() {
        let (config, mut tensors) = model(Some("a10".parse().unwrap()));
        // At its start, a model's MLPs add little to the tokens: here they shall matter.
        for (_, tensor) in tensors.iter_mut().filter(|(name, _)| name.contains("mlp.fc")) {
            tensor.values_mut::<f32>().unwrap().iter_mut().for_each(|value| *value *= 8.0);
        }
        let device = Device::cpu(Some(1)).unwrap();
        let (originals, ids) = images(2);
        let psnr = |release: u32, draws: u32| {
            let how = InversionConfig { block: 2, release, draws, ..HOW };
            let found = Inverter::new(&device, &config, &tensors, 2, how, 5).unwrap().run(&originals, &ids).unwrap();
            Quality::of(&originals, &found.images, DIMS).unwrap().mean_psnr
        };
        let (deterministic, one, many) = (psnr(0, 0), psnr(1, 0), psnr(64, 0));
        assert!(one < deterministic - 2.0 && one < many - 1.0, "{one} {many} {deterministic}");
    }

    #[test]
    fn bad_input_is_refused() {
        let (config, tensors) = model(None);
        let device = Device::cpu(Some(1)).unwrap();
        let new = |how| Inverter::new(&device, &config, &tensors, 2, how, 5);
        let deep = new(InversionConfig { block: 3, ..HOW }).err().unwrap().to_string();
        assert!(deep.contains("fewer blocks"), "{deep}");
        assert!(new(InversionConfig { draws: 1, ..HOW }).err().unwrap().to_string().contains("stochastic"));
        let (originals, ids) = images(2);
        assert!(new(HOW).unwrap().run(&originals[1..], &ids).is_err());
    }
}
