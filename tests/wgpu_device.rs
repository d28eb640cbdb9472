//! The wgpu device at its limits and when things go wrong: bindings that are split or refused, folded grids, memory that does
//! not suffice, kernels that do not compile or write too far, NaN and infinity, a device that is lost.

mod support;

use std::sync::Arc;

use engine::device::source::Source;
use engine::device::webgpu::Options;
use engine::{
    DType, Device, Error, Exec, Kernel, Result, Role, Spec, Store, Tape, Target, Tensor, Update, UpdateIo, Value, Work,
};
use kernels::activation::{Activation, activation};
use kernels::attention::attention;
use kernels::layer_norm::layer_norm;
use kernels::linear::linear;
use kernels::residual::residual;
use support::gpu::{device, open};

fn cpu() -> Device {
    Device::cpu(Some(2)).unwrap_or_else(|error| unreachable!("{error}"))
}

type Recorded = Box<dyn Fn(&mut Tape, &[Value]) -> Result<Value>>;
type Build<'a> = &'a dyn Fn(&mut Tape, &[Value]) -> Result<Value>;

fn output(device: &Device, build: Build, inputs: &[Tensor]) -> Result<Tensor> {
    Ok(engine::check::evaluate(device, build, inputs, &[], None)?.output)
}

#[test]
fn rows_beyond_the_binding_limit_are_split_and_whole_tensors_are_refused_by_name() {
    let limit = 64 << 10;
    let Some(device) = open(&Options { max_binding: Some(limit), ..Options::default() }) else { return };
    let random = |dims: &[usize]| engine::check::random::<f32>(dims, 1, "x").unwrap();
    let sum = |tape: &mut Tape, inputs: &[Value]| residual(tape, inputs[0], inputs[1], None);
    // 65,536 bytes fit in one piece, four more do not, and a million take many.
    for elements in [16_384, 16_385, 16_447, 250_007] {
        let inputs = [random(&[elements]), random(&[elements])];
        let (ours, theirs) = (output(&device, &sum, &inputs), output(&cpu(), &sum, &inputs));
        assert!(ours.unwrap() == theirs.unwrap(), "{elements} elements");
    }
    // The weight of a linear layer is read as a whole.
    let product = |tape: &mut Tape, inputs: &[Value]| linear(tape, inputs[0], inputs[1], None, None);
    assert!(output(&device, &product, &[random(&[3, 128]), random(&[128, 128])]).is_ok());
    let error = output(&device, &product, &[random(&[3, 128]), random(&[129, 128])]).unwrap_err();
    let text = error.to_string();
    assert!(error.is_too_large() && text.contains("f32[129, 128]") && text.contains("65536"), "{text}");
}

#[test]
fn a_tensor_that_can_not_be_bound_is_refused_before_memory_is_taken() {
    let Some(device) = open(&Options { max_binding: Some(64 << 10), ..Options::default() }) else { return };
    let mut store = Store::new(device).unwrap();
    let x = store.constant("x", Role::Data, &engine::check::random::<f32>(&[3, 128], 1, "x").unwrap()).unwrap();
    let weight = engine::check::random::<f32>(&[129, 128], 1, "weight").unwrap();
    let weight = store.constant("weight", Role::Parameter, &weight).unwrap();
    let mut tape = Tape::new();
    let (x, weight) = (tape.var(&store, x).unwrap(), tape.var(&store, weight).unwrap());
    let y = tape.scope("head", |tape| linear(tape, x, weight, None, None)).unwrap();
    let error = tape.plan(&mut store, &[y]).map(drop).unwrap_err().to_string();
    assert!(error.contains("head") && error.contains("f32[129, 128]"), "{error}");
    assert_eq!(store.arena_bytes(), 0);
}

#[test]
fn grids_beyond_65535_groups_are_folded() {
    let Some(device) = device() else { return };
    let elements = 65_537 * 64;
    let x = Tensor::from_fn(&[elements], |i| if i % 3 == 0 { -1.0 } else { 0.5_f32 }).unwrap();
    let relu = |tape: &mut Tape, inputs: &[Value]| activation(tape, inputs[0], Activation::Relu);
    let y = output(device, &relu, &[x]).unwrap();
    let right = |(i, &y): (usize, &f32)| y == if i % 3 == 0 { 0.0 } else { 0.5 };
    assert!(y.values::<f32>().unwrap().iter().enumerate().all(right));
}

#[test]
fn a_plan_that_does_not_fit_is_refused_before_memory_is_taken() {
    let Some(device) = open(&Options { max_buffer: Some(1 << 20), ..Options::default() }) else { return };
    let mut store = Store::new(device).unwrap();
    let x = store.single("x", Role::Data, Spec::new(DType::F32, &[200_000]).unwrap()).unwrap();
    let mut tape = Tape::new();
    let x = tape.var(&store, x).unwrap();
    let y = tape.scope("first", |tape| activation(tape, x, Activation::Relu)).unwrap();
    let z = tape.scope("second", |tape| activation(tape, y, Activation::Relu)).unwrap();
    let error = tape.plan(&mut store, &[z]).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(error.is_too_large(), "{text}");
    for part in ["plan: the plan needs more memory", "second: activation", "1048576 bytes", "vitrum plan"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert_eq!(store.arena_bytes(), 0);
    let error = store.single("y", Role::Data, Spec::new(DType::F32, &[300_000]).unwrap()).unwrap_err();
    assert!(error.is_too_large() && error.to_string().contains("no buffer of this size"), "{error}");
}

/// Which of NaN, the infinities and the finite numbers a value is, by its bits.
fn class(value: f32) -> &'static str {
    let bits = value.to_bits();
    match (bits & 0x7fff_ffff).cmp(&0x7f80_0000) {
        std::cmp::Ordering::Greater => "NaN",
        std::cmp::Ordering::Equal if bits >> 31 == 1 => "-inf",
        std::cmp::Ordering::Equal => "+inf",
        std::cmp::Ordering::Less => "finite",
    }
}

#[test]
fn nan_and_infinity_go_where_they_go_on_the_cpu() {
    let Some(device) = device() else { return };
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e4, -1e4, 0.0, -0.0, 3e38, -3e38, 1e-40];
    let x =
        Tensor::from_fn(&[special.len(), 12], |i| if i % 12 == 5 { special[i / 12] } else { (i % 7) as f32 }).unwrap();
    let ones = |dims: &[usize]| Tensor::from_fn(dims, |_| 1.0_f32).unwrap();
    let cases: Vec<(&str, Vec<Tensor>, Recorded)> = vec![
        ("gelu", vec![x.clone()], Box::new(|tape, v| activation(tape, v[0], Activation::Gelu))),
        ("relu", vec![x.clone()], Box::new(|tape, v| activation(tape, v[0], Activation::Relu))),
        ("residual", vec![x.clone(), x.clone()], Box::new(|tape, v| residual(tape, v[0], v[1], None))),
        ("linear", vec![x.clone(), ones(&[3, 12])], Box::new(|tape, v| linear(tape, v[0], v[1], None, None))),
        (
            "layer_norm",
            vec![x.clone(), ones(&[12]), ones(&[12])],
            Box::new(|tape, v| layer_norm(tape, v[0], v[1], v[2], 1e-6)),
        ),
        (
            "attention",
            vec![Tensor::new(&[5, 2, 12], x.values::<f32>().unwrap()).unwrap()],
            Box::new(|tape, v| attention(tape, v[0], 1)),
        ),
    ];
    for (name, inputs, build) in &cases {
        let classes = |device: &Device| -> Vec<&str> {
            let y = output(device, build.as_ref(), inputs).unwrap();
            y.values::<f32>().unwrap().iter().map(|&y| class(y)).collect()
        };
        let (ours, theirs) = (classes(device), classes(&cpu()));
        assert!(theirs.contains(&"NaN"), "{name}: the case holds a NaN");
        assert_eq!(ours, theirs, "{name}");
    }
}

static LIBRARY: engine::device::source::Library =
    &[("good.wgsl", "fn one() -> f32 {\n    return 1.0;\n}\n"), ("bad.wgsl", "fn two() -> f32 {\n    return 2u;\n}\n")];
const HEAD: &str = "@group(0) @binding(1) var<storage, read_write> x: array<f32>;\n";

static BAD: Source = Source {
    file: "tests/bad_main.wgsl",
    text: "#include \"good.wgsl\"\n#include \"bad.wgsl\"\n@compute @workgroup_size(1) fn main() {}\n",
    library: LIBRARY,
};
static BEYOND: Source = Source {
    file: "tests/beyond.wgsl",
    text: "@group(0) @binding(1) var<storage, read_write> x: array<f32>;\n\
           @compute @workgroup_size(1) fn main() { x[0] = 1.0; x[5] = 1.0; }\n",
    library: &[],
};

/// An update that runs one invocation of a kernel on its state.
#[derive(Debug)]
struct Run(&'static Source);

impl Update for Run {
    fn name(&self) -> &'static str {
        "run"
    }

    fn check(&self, _state: &[Spec], _inputs: &[Spec]) -> Result<()> {
        Ok(())
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        20
    }

    fn cost(&self, _state: &[Spec], _inputs: &[Spec]) -> Work {
        Work::default()
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Wgpu(exec) => exec.launch(&Kernel::new(self.0, "main"), &[0_u32; 4], &[io.scratch.whole()?], 1),
            Exec::Cpu(_) | Exec::Cuda(_) => Err(Error::new("run", "runs on wgpu only")),
        }
    }
}

fn run(device: &Device, source: &'static Source) -> Result<()> {
    let mut store = Store::new(device.clone())?;
    let x = store.single("x", Role::Data, Spec::new(DType::F32, &[5])?)?;
    let mut tape = Tape::new();
    tape.update(&store, Run(source), &[x], &[])?;
    tape.plan_with(&mut store, &[], true)?.replay(&mut store)
}

#[test]
fn a_compilers_message_names_our_file_and_line() {
    let Some(device) = device() else { return };
    let text = run(device, &BAD).unwrap_err().to_string();
    assert!(text.contains("the kernel does not compile") && text.contains("bad.wgsl:1"), "{text}");
    assert!(BEYOND.text.starts_with(HEAD), "the kernels of this test bind one buffer");
}

#[test]
fn a_kernel_that_writes_beyond_its_buffer_is_found() {
    let Some(device) = device() else { return };
    let text = run(device, &BEYOND).unwrap_err().to_string();
    assert!(text.contains("wrote beyond a buffer"), "{text}");
}

#[test]
fn f64_is_refused_with_the_remedy() {
    let Some(device) = device() else { return };
    let mut store = Store::new(device.clone()).unwrap();
    let error = store.single("x", Role::Data, Spec::new(DType::F64, &[5]).unwrap()).unwrap_err().to_string();
    assert!(error.contains("f64") && error.contains("--device cpu"), "{error}");
}

#[test]
fn an_unknown_adapter_is_refused_with_the_names_that_there_are() {
    let Some(device) = device() else { return };
    let wanted = Options { adapter: Some("no such card".into()), ..Options::default() };
    let error = Device::wgpu(&wanted).map(drop).unwrap_err().to_string();
    let Device::Wgpu(gpu) = device else { unreachable!("opened as wgpu") };
    assert!(error.contains("no such card") && error.contains(&gpu.report().name), "{error}");
}

#[test]
fn a_lost_device_leaves_the_last_checkpoint_whole_and_says_how_to_go_on() {
    use train::data::{Options as DataOptions, Split, open as open_data};
    use train::recipe::Recipe;
    use train::trainer::Trainer;

    let Some(device) = open(&Options::default()) else { return };
    let config = models::VitConfig { image: [32, 32], patch: 8, classes: 10, ..support::vit::config(12, 1, 2) };
    let data = open_data("synthetic", Split::Train, &DataOptions { limit: Some(16), ..DataOptions::default() });
    let recipe = Recipe { epochs: 3, batch: 8, ..Recipe::default() };
    let tensors = models::init::init(&config, 1).unwrap();
    let mut trainer = Trainer::new(&device, &config, &tensors, Arc::new(data.unwrap()), recipe).unwrap();
    trainer.run_epoch(&mut |_, _| Ok(true)).unwrap();
    let saved = trainer.weights().unwrap();
    let Device::Wgpu(gpu) = &device else { unreachable!("opened as wgpu") };
    gpu.destroy();
    let error = trainer.run_epoch(&mut |_, _| Ok(true)).unwrap_err().to_string();
    assert!(error.contains("was lost") && error.contains("--resume"), "{error}");
    assert!(trainer.weights().is_err(), "nothing is read from a device that is gone");
    assert!(saved != tensors, "the epoch before it trained");
}
