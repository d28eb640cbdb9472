//! What the CUDA device itself promises: messages, the cache of machine code, refusals. The bodies of tests of `cuda.rs`.
#![allow(clippy::unwrap_used, reason = "the bodies of tests")]

use std::path::PathBuf;
use std::sync::Arc;

use engine::device::cuda::{Grid, Kernel, Options};
use engine::device::source::Source;
use engine::{DType, Device, Error, Exec, Result, Role, Spec, Store, Tape, Target, Update, UpdateIo, Work};

use kernels::linear::linear;
use train::data::{Options as DataOptions, Split, open as open_data};
use train::recipe::Recipe;
use train::trainer::Trainer;

use crate::support::vit::{Net, config, images, lively};

static GOOD: Source = Source {
    file: "tests/good.cu",
    text: "extern \"C\" __global__ void set(float* x) { x[threadIdx.x] = 3.0f; }",
    library: &[],
};
static BAD: Source = Source {
    file: "tests/bad.cu",
    text: "#include \"part.cuh\"\nextern \"C\" __global__ void set(float* x) { x[0] = part(); }",
    library: &[("part.cuh", "#pragma once\n\n__device__ float part() { return no_such_name; }\n")],
};
static BEYOND: Source = Source {
    file: "tests/beyond.cu",
    text: "extern \"C\" __global__ void set(float* x) { x[1000000000] = 3.0f; }",
    library: &[],
};

/// One launch of a source's kernel on a variable.
#[derive(Debug)]
struct Run {
    source: &'static Source,
    threads: u32,
}

impl Update for Run {
    fn name(&self) -> &'static str {
        "run"
    }

    fn check(&self, _state: &[Spec], _inputs: &[Spec]) -> Result<()> {
        Ok(())
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, _state: &[Spec], _inputs: &[Spec]) -> Work {
        Work::default()
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cuda(exec) => {
                let kernel = Kernel::new(self.source, "set", DType::F32);
                exec.launch(kernel, Grid::new(1, self.threads), &[io.state[0].address()?])
            }
            Exec::Cpu(_) | Exec::Wgpu(_) => Err(Error::new("run", "runs on CUDA only")),
        }
    }
}

/// What a variable of five elements holds after a kernel has run on it.
fn run(device: &Device, source: &'static Source, threads: u32) -> Result<Vec<f64>> {
    let mut store = Store::new(device.clone())?;
    let x = store.single("x", Role::Data, Spec::new(DType::F32, &[5])?)?;
    let mut tape = Tape::new();
    tape.update(&store, Run { source, threads }, &[x], &[])?;
    tape.plan_with(&mut store, &[], false)?.replay(&mut store)?;
    Ok(store.read(x)?.to_f64())
}

pub fn a_compilers_message_names_our_file_and_line() {
    let text = run(&crate::device(), &BAD, 5).unwrap_err().to_string();
    assert!(text.contains("the kernel does not compile") && text.contains("no_such_name"), "{text}");
    // NVRTC writes FILE(LINE), g++ FILE:LINE.
    assert!(text.contains("part.cuh(3)") || text.contains("part.cuh:3"), "{text}");
}

pub fn launches_beyond_the_devices_limits_are_refused() {
    let error = run(&crate::device(), &GOOD, 2048).unwrap_err().to_string();
    assert!(error.contains("good.cu set") && error.contains("1024 threads"), "{error}");
}

pub fn f64_is_refused_with_the_remedy() {
    let mut store = Store::new(crate::device()).unwrap();
    let error = store.single("x", Role::Data, Spec::new(DType::F64, &[5]).unwrap()).unwrap_err().to_string();
    assert!(error.contains("f64") && error.contains("--device cpu"), "{error}");
}

/// With a folder of its own in `VITRUM_CACHE`.
pub fn machine_code() {
    let folder = std::env::var_os("VITRUM_CACHE").map(PathBuf::from).unwrap().join("cubin");
    let three = vec![3.0; 5];
    assert_eq!(run(&crate::device(), &GOOD, 5).unwrap(), three);
    let entries: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(entries.len(), 1, "one source, one entry");
    let whole = std::fs::read(&entries[0]).unwrap();
    for damaged in [&whole[..whole.len() / 2], &[][..], &[whole.as_slice(), b"x"].concat()] {
        std::fs::write(&entries[0], damaged).unwrap();
        assert_eq!(run(&crate::device(), &GOOD, 5).unwrap(), three);
        assert!(std::fs::read(&entries[0]).unwrap() == whole, "the entry is whole again");
    }
}

fn net(images_of: usize) -> Result<Net> {
    let config = config(12, 1, 2);
    let labels = vec![1; images_of];
    Net::new(crate::device(), &config, &lively(&config, 1)?, DType::F32, &images(images_of, &config, 3)?, &labels)
}

/// `VITRUM_TEST_REPLAYS` training steps and as many attack steps.
pub fn replays() {
    let replays: usize = std::env::var("VITRUM_TEST_REPLAYS").unwrap().parse().unwrap();
    let mut net = net(3).unwrap();
    let (training, loss) = net.training(0.02, 0.9, 1e-4, 1.0, false).unwrap();
    let (attack, _, delta) = net.attack(8.0 / 255.0, 2.0 / 255.0, false).unwrap();
    for _ in 0..replays {
        training.replay(&mut net.store).unwrap();
    }
    assert!(training.read(&net.store, loss).unwrap().to_f64()[0].is_finite());
    for _ in 0..replays {
        attack.replay(&mut net.store).unwrap();
    }
    assert!(net.store.read(delta).unwrap().to_f64().iter().any(|&x| x != 0.0));
}

/// The listing of `y = x W'` in bf16.
fn listing(k: usize, n: usize) -> String {
    let mut store = Store::new(crate::device()).unwrap();
    let mut tape = Tape::new();
    let mut value = |name: &str, dims: &[usize]| {
        let var = store.single(name, Role::Data, Spec::new(DType::Bf16, dims).unwrap()).unwrap();
        tape.var(&store, var).unwrap()
    };
    let (x, weight) = (value("x", &[70, k]), value("weight", &[n, k]));
    let y = tape.scope("fc", |tape| linear(tape, x, weight, None, None)).unwrap();
    tape.plan(&mut store, &[y]).unwrap().to_string()
}

pub fn general_kernels_are_named() {
    let general = listing(12, 40);
    for part in ["note: fc: linear", "without tensor cores", "k = 12", "multiple of 8"] {
        assert!(general.contains(part), "{part}: {general}");
    }
    let fast = listing(16, 40);
    assert!(!fast.contains("without tensor cores"), "{fast}");
}

/// With findings of the emulator reported only.
pub fn illegal_access() {
    let device = Device::cuda(&Options { blocking: true, ..Options::default() }).unwrap();
    let error = run(&device, &BEYOND, 1).unwrap_err().to_string();
    for part in ["run", "f32[5]", "--resume", "illegal"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // Whatever follows fails too, and says so.
    assert!(device.finish().is_err());
}

/// A kernel that accesses foreign memory takes the device with it, as a GPU that falls off the bus does.
pub fn lost_while_training() {
    let device = crate::device();
    let config = models::VitConfig { image: [32, 32], patch: 8, classes: 10, ..config(12, 1, 2) };
    let data = open_data("synthetic", Split::Train, &DataOptions { limit: Some(16), ..DataOptions::default() });
    let recipe = Recipe { epochs: 3, batch: 8, ..Recipe::default() };
    let tensors = models::init::init(&config, 1).unwrap();
    let mut trainer = Trainer::new(&device, &config, &tensors, Arc::new(data.unwrap()), recipe).unwrap();
    trainer.run_epoch(&mut |_, _| Ok(true)).unwrap();
    let saved = trainer.weights().unwrap();
    assert!(run(&device, &BEYOND, 1).is_err());
    let error = trainer.run_epoch(&mut |_, _| Ok(true)).unwrap_err().to_string();
    assert!(error.contains("cuda") && error.contains("--resume"), "{error}");
    assert!(trainer.weights().is_err(), "nothing is read from a device that is gone");
    assert!(saved != tensors, "the epoch before it trained");
}

/// With 32 MiB of memory.
pub fn out_of_memory() {
    let mut net = net(2000).unwrap();
    let before = net.store.arena_bytes();
    let error = net.training(0.02, 0.9, 1e-4, 1.0, false).map(drop).unwrap_err();
    assert!(error.is_too_large());
    let text = error.to_string();
    for part in ["peak set by", "arena", "limit", "smaller batch"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(net.store.arena_bytes(), before);
    // One that fits still runs.
    let device = crate::device();
    assert_eq!(run(&device, &GOOD, 5).unwrap(), vec![3.0; 5]);
}

/// On an emulated compute capability of 7.5, or driver of CUDA 11.8.
pub fn too_old() {
    let error = Device::cuda(&Options::default()).map(drop).unwrap_err().to_string();
    let (found, remedy) = if std::env::var("VITRUM_TEST_OLD").unwrap() == "75" {
        ("75", "--device wgpu")
    } else {
        ("CUDA 11.8", "update")
    };
    assert!(error.contains("too old") && error.contains(found) && error.contains(remedy), "{error}");
}
