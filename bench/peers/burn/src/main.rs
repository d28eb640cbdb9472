//! burn as a peer: the training steps of a ViT on burn's wgpu backend, measured on request.
//!
//! Speaks the line protocol of `../README.md`. Attention is products and a softmax: burn's own `attention` was not faster here.

use std::collections::HashMap;
use std::error::Error;
use std::io::BufRead;
use std::time::Instant;

use burn::module::{Initializer, Module, Param};
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::{Gelu, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::activation::softmax;
use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData, s};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CLASSES: usize = 10;
const PATCH: usize = 4;
const EPS: f64 = 1e-6;
const RATE: f64 = 1e-3;
/// Untimed steps.
const WARM_UP: usize = 4;

/// A model and its batch.
struct Bench {
    name: &'static str,
    image: usize,
    channels: usize,
    mean: f32,
    std: f32,
    width: usize,
    depth: usize,
    heads: usize,
    batch: usize,
}

const BENCHES: [Bench; 2] = [
    Bench { name: "deit_ti_65_train_b8", image: 32, channels: 3, mean: 0.45, std: 0.225, width: 192, depth: 12, heads: 3, batch: 8 },
    Bench { name: "vit_mnist_train_b128", image: 28, channels: 1, mean: 0.1307, std: 0.3081, width: 64, depth: 4, heads: 4, batch: 128 },
];

fn norm(width: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(width).with_epsilon(EPS).init(device)
}

#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
}

impl Block {
    fn new(bench: &Bench, device: &Device) -> Self {
        let width = bench.width;
        Self {
            norm1: norm(width, device),
            qkv: LinearConfig::new(width, 3 * width).init(device),
            proj: LinearConfig::new(width, width).init(device),
            norm2: norm(width, device),
            fc1: LinearConfig::new(width, 4 * width).init(device),
            fc2: LinearConfig::new(4 * width, width).init(device),
            heads: bench.heads,
        }
    }

    fn attention(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, width] = x.dims();
        let head = width / self.heads;
        let part = |qkv: &Tensor<3>, i: usize| {
            qkv.clone().slice(s![.., .., i * width..(i + 1) * width]).reshape([batch, tokens, self.heads, head]).swap_dims(1, 2)
        };
        let qkv = self.qkv.forward(x);
        let (q, k, v) = (part(&qkv, 0), part(&qkv, 1), part(&qkv, 2));
        let scores = q.matmul(k.transpose()).mul_scalar((head as f64).powf(-0.5));
        let out = softmax(scores, 3).matmul(v);
        self.proj.forward(out.swap_dims(1, 2).reshape([batch, tokens, width]))
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = x.clone() + self.attention(self.norm1.forward(x));
        let hidden = Gelu::new().forward(self.fc1.forward(self.norm2.forward(x.clone())));
        x + self.fc2.forward(hidden)
    }
}

#[derive(Module, Debug)]
struct Vit {
    patch: Linear,
    class: Param<Tensor<3>>,
    position: Param<Tensor<3>>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

impl Vit {
    fn new(bench: &Bench, device: &Device) -> Self {
        let width = bench.width;
        let tokens = (bench.image / PATCH).pow(2) + 1;
        let small = Initializer::Normal { mean: 0.0, std: 0.02 };
        Self {
            patch: LinearConfig::new(bench.channels * PATCH * PATCH, width).init(device),
            class: small.init([1, 1, width], device),
            position: small.init([1, tokens, width], device),
            blocks: (0..bench.depth).map(|_| Block::new(bench, device)).collect(),
            norm: norm(width, device),
            head: LinearConfig::new(width, CLASSES).init(device),
        }
    }

    fn embed(&self, images: Tensor<4>) -> Tensor<3> {
        let [batch, channels, height, width] = images.dims();
        let (rows, columns) = (height / PATCH, width / PATCH);
        let patches = images
            .reshape([batch, channels, rows, PATCH, columns, PATCH])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, channels * PATCH * PATCH]);
        self.patch.forward(patches)
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let patches = self.embed(images);
        let [batch, _, width] = patches.dims();
        let class = self.class.val().expand([batch, 1, width]);
        let mut x = Tensor::cat(vec![class, patches], 1) + self.position.val();
        for block in &self.blocks {
            x = block.forward(x);
        }
        let class = x.slice(s![.., 0..1, ..]).reshape([batch, width]);
        self.head.forward(self.norm.forward(class))
    }
}

struct Step {
    model: Option<Vit>,
    optimizer: ModuleOptimizer,
    criterion: CrossEntropyLoss,
    images: Tensor<4>,
    labels: Tensor<1, Int>,
    device: Device,
}

impl Step {
    fn new(bench: &Bench, device: &Device) -> Self {
        let train = device.clone().autodiff();
        let shape = [bench.batch, bench.channels, bench.image, bench.image];
        let images = Tensor::<4>::random(shape, Distribution::Uniform(0.0, 1.0), &train);
        let labels: Vec<i32> = (0..bench.batch).map(|i| (i % CLASSES) as i32).collect();
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        Self {
            model: Some(Vit::new(bench, &train)),
            optimizer: SgdConfig::new().with_momentum(Some(momentum)).init(),
            criterion: CrossEntropyLossConfig::new().init(&train),
            images: (images - bench.mean) / bench.std,
            labels: Tensor::from_data(TensorData::new(labels, [bench.batch]), &train),
            device: device.clone(),
        }
    }

    fn run(&mut self) -> Result<f32> {
        let model = self.model.take().ok_or("the model was lost in a step that failed")?;
        let loss = self.criterion.forward(model.forward(self.images.clone()), self.labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(RATE, model, gradients));
        self.device.sync()?;
        Ok(loss.into_scalar::<f32>())
    }
}

fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|count| count.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

fn main() -> Result<()> {
    let (device, setup) = Device::wgpu_options().graphics_api(WgpuBackend::Vulkan).init_with_setup()?;
    let adapter = setup.adapter.get_info().name;
    let base = peak_rss_mb();
    let mut steps: HashMap<&str, Step> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let name = line?;
        let Some(bench) = BENCHES.iter().find(|bench| bench.name == name.trim()) else {
            println!("{}", serde_json::json!({"bench": name, "peer": "burn", "error": "unknown bench"}));
            continue;
        };
        if !steps.contains_key(bench.name) {
            let mut fresh = Step::new(bench, &device);
            // It measures variants of its kernels in the first steps.
            for _ in 0..WARM_UP {
                fresh.run()?;
            }
            steps.insert(bench.name, fresh);
        }
        let step = steps.get_mut(bench.name).ok_or("the step was lost")?;
        let start = Instant::now();
        step.run()?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let answer = serde_json::json!({
            "bench": bench.name, "peer": "burn", "threads": 0, "median_ms": ms, "p20_ms": ms, "p80_ms": ms, "reps": 1,
            "peak_rss_mb": peak_rss_mb(), "base_rss_mb": base, "versions": {"burn": "0.22.1", "adapter": adapter},
        });
        println!("{answer}");
    }
    Ok(())
}
