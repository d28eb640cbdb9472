//! The table, and every kernel on products that it would give to another one.

use engine::check::{evaluate, max_error, random};
use engine::device::webgpu::{AdapterKind, Options};
use engine::{Backward, Cost, Device, Exec, Forward, Inputs, Keeps, Op, Scratch, Spec, Target};

use super::*;

const CAPS: Caps = Caps {
    kind: AdapterKind::Discrete,
    max_binding: 1 << 30,
    max_buffer: 1 << 30,
    max_groups: 65_535,
    subgroup: Some(32),
    f16: false,
};

#[test]
fn the_table_goes_by_adapter_and_size() {
    let software = Caps { kind: AdapterKind::Software, subgroup: Some(8), ..CAPS };
    assert_eq!(Variant::choose(software, 12_608, 1536), Variant::Subgroup { columns: 64, width: 8 });
    assert_eq!(Variant::choose(software, 12_608, 10), Variant::Subgroup { columns: 32, width: 8 });
    assert_eq!(Variant::choose(Caps { subgroup: Some(128), ..software }, 64, 64), Variant::Tiled(64));
    assert_eq!(Variant::choose(Caps { subgroup: None, ..software }, 64, 64), Variant::Tiled(64));
    assert_eq!(Variant::choose(CAPS, 12_608, 1536), Variant::Tiled(128));
    assert_eq!(Variant::choose(CAPS, 12_608, 384), Variant::Tiled(64));
    assert_eq!(Variant::choose(Caps { f16: true, ..CAPS }, 12_608, 384), Variant::Half(64));
    assert_eq!(Variant::choose(Caps { f16: true, ..software }, 12_608, 1536), Variant::Half(128));
}

#[test]
fn long_sums_are_divided_where_tiles_are_few() {
    let chunk = |extents, caps| chunk(Variant::Tiled(64), extents, caps);
    for extents @ [m, n, k] in [[384, 384, 12_608], [192, 768, 4160], [10, 192, 530], [1, 1, 100_003]] {
        let chunk = chunk(extents, CAPS);
        assert!(chunk < k && chunk.is_multiple_of(16) && chunk >= LONG, "{extents:?}: {chunk}");
        assert_eq!(Product::scratch(extents, CAPS), k.div_ceil(chunk) * m * n * 4);
    }
    assert_eq!(chunk([384, 384, 400], CAPS), 400);
    assert_eq!(chunk([4096, 4096, 12_608], CAPS), 12_608);
    // Divided already, by the binding limit.
    assert_eq!(chunk([384, 384, 12_608], Caps { max_binding: 1 << 20, ..CAPS }), 12_608);
    assert_eq!(Product::scratch([384, 384, 400], CAPS), 0);
}

/// A product by a kernel that is given.
#[derive(Debug)]
struct Forced {
    variant: Variant,
    layout: Layout,
    extents: [usize; 3],
}

impl Op for Forced {
    fn name(&self) -> &'static str {
        "forced"
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        Spec::new(inputs[0].dtype, &self.extents[..2])
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::NONE
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps::default())
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        let [m, n, k] = self.extents;
        Scratch { forward: k.div_ceil(LONG) * m * n * 4, backward: 0 }
    }

    fn cost(&self, _inputs: &[Spec], _wanted: Inputs) -> Cost {
        Cost::default()
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        let Exec::Wgpu(exec) = exec else { return Ok(()) };
        let args = [io.inputs[0].rows()?, io.inputs[1].whole()?, io.output.whole()?];
        let scratch = Some(io.scratch.whole()?);
        Product { scratch, ..Product::new(self.layout, self.extents, args) }.launch_as(exec, self.variant)
    }

    fn backward(&self, _exec: &mut Exec, _io: Backward) -> Result<()> {
        Ok(())
    }
}

/// Largest error of a product against f64.
fn error(device: &Device, forced: Forced) -> f64 {
    let Forced { layout, extents: [m, n, k], .. } = forced;
    // Multiples of 2^-8 below 8: exact in f16, so that only the sums round, which are in f32 everywhere.
    let tensor = |dims: [usize; 2], name| {
        let mut tensor = random::<f32>(&dims, 1, name).unwrap();
        tensor.values_mut::<f32>().unwrap().iter_mut().for_each(|x| *x = (*x * 256.0).round() / 256.0);
        tensor
    };
    let a = tensor(if layout == Layout::Tn { [k, m] } else { [m, k] }, "a");
    let b = tensor(if layout == Layout::Nt { [n, k] } else { [k, n] }, "b");
    let (wide_a, wide_b) = (a.to_f64(), b.to_f64());
    let at_a = |i: usize, j: usize| wide_a[if layout == Layout::Tn { j * m + i } else { i * k + j }];
    let at_b = |i: usize, j: usize| wide_b[if layout == Layout::Nt { j * k + i } else { i * n + j }];
    let sum = |at: usize| (0..k).map(|step| at_a(at / n, step) * at_b(step, at % n)).sum::<f64>();
    let expected: Vec<f64> = (0..m * n).map(sum).collect();
    let forced = std::cell::Cell::new(Some(forced));
    let record = |tape: &mut engine::Tape, inputs: &[engine::Value]| tape.record(forced.take().unwrap(), inputs);
    max_error(&evaluate(device, &record, &[a, b], &[], None).unwrap().output.to_f64(), &expected)
}

#[test]
fn every_kernel_gives_every_product() {
    let device = match Device::wgpu(&Options { f16: true, ..Options::default() }) {
        Ok(device) => device,
        Err(error) => {
            vitrum_tests::skipped(format_args!("products on wgpu: {error}").to_string().replace('\n', ";"));
            return;
        }
    };
    let Device::Wgpu(gpu) = &device else { unreachable!("opened as wgpu") };
    let [narrow, wide] = [1, 1000].map(|n| Variant::choose(Caps { f16: false, ..gpu.caps() }, 1, n));
    let mut variants = vec![narrow, wide, Variant::Tiled(64), Variant::Tiled(128)];
    if gpu.caps().f16 {
        variants.extend([Variant::Half(64), Variant::Half(128)]);
    } else {
        vitrum_tests::skipped("products in f16: the adapter has no f16");
    }
    for variant in variants {
        for layout in [Layout::Nt, Layout::Nn, Layout::Tn] {
            for extents in [[1, 1, 1], [130, 260, 20], [20, 11, 600]] {
                let error = error(&device, Forced { variant, layout, extents });
                assert!(error < 1e-4, "{variant:?} {layout:?} {extents:?}: {error:e}");
            }
        }
    }
}
