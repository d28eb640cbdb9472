//! Development only.
extern crate vitrum_kernels as kernels;
use engine::device::cuda::Options;
use engine::{DType, Device, Tensor, check::evaluate};
use kernels::attention::attention;
use kernels::cast::cast;
fn main() {
    let cuda = Device::cuda(&Options::default()).unwrap();
    let cpu = Device::cpu(Some(1)).unwrap();
    let mut bad = 0;
    for (n, h, d) in [(17, 2, 64), (70, 2, 32), (130, 4, 64), (197, 4, 64), (197, 1, 64), (230, 1, 32), (300, 1, 32)] {
        for (what, value) in [("nan", f32::NAN), ("inf", f32::INFINITY), ("-inf", f32::NEG_INFINITY), ("3e38", 3e38)] {
            for part in 0..4 {
                let (token, head, e) = (n / 2 + 1, h - 1, 3);
                let at = (token * 3 + part) * h * d + head * d + e;
                let qkv = Tensor::from_fn(&[1, n, 3 * h * d], |i| {
                    if part < 3 && i == at { value } else { ((i as f32 * 12.9898).sin() * 64.0).round() / 64.0 }
                })
                .unwrap();
                let dy = Tensor::from_fn(&[1, n, h * d], |i| {
                    if part == 3 && i == token * h * d + head * d + e {
                        value
                    } else {
                        ((i as f32 * 2.71).sin() * 64.0).round() / 64.0
                    }
                })
                .unwrap();
                let run = |device: &Device, bf16: bool| {
                    let record = move |tape: &mut engine::Tape, x: &[engine::Value]| {
                        let q = if bf16 { cast(tape, x[0], DType::Bf16)? } else { x[0] };
                        let y = attention(tape, q, h)?;
                        if bf16 { cast(tape, y, DType::F32) } else { Ok(y) }
                    };
                    let r = evaluate(device, &record, &[qkv.clone()], &[0], Some(&dy)).unwrap();
                    (r.output.to_f64(), r.gradients[0].to_f64())
                };
                let (a, b, g) = (run(&cuda, true), run(&cpu, false), run(&cuda, false));
                let class = |x: f64| {
                    if x.is_nan() {
                        0
                    } else if x.is_infinite() {
                        1
                    } else {
                        2
                    }
                };
                let count = |x: &[f64], y: &[f64]| x.iter().zip(y).filter(|(x, y)| class(**x) != class(**y)).count();
                let (o, q) = (count(&a.0, &b.0), count(&a.1, &b.1));
                let (o2, q2) = (count(&g.0, &b.0), count(&g.1, &b.1));
                if o + q > 0 {
                    bad += 1;
                    println!(
                        "n{n} d{d} {what} part {part}: out {o} grad {q} of {} nan {}; simt f32 {o2} {q2}",
                        b.1.len(),
                        b.1.iter().filter(|x| x.is_nan()).count()
                    );
                }
            }
        }
    }
    println!("{bad} differ");
}
