//! Tensors of a file in timm's names, order and layout; everything that doesn't fit in one error.

use std::collections::BTreeSet;

use engine::{Error, Result, Tensor};

use super::View;
use crate::config::VitConfig;

/// Most problems that one error lists.
const MOST_LISTED: usize = 20;

/// Reads every parameter of `config`, as f32.
///
/// # Errors
/// One error lists missing and left-over tensors, wrong shapes and element types, and values that are not finite.
pub(super) fn assemble(view: &View, config: &VitConfig) -> Result<Vec<(String, Tensor)>> {
    let mut problems: Vec<(&str, String)> = Vec::new();
    let mut used = BTreeSet::new();
    let mut tensors = Vec::new();
    for (name, dims) in config.parameters() {
        let Some(parts) = view.parts(&name) else {
            let expected = view.layout.alternatives(&name).into_iter().next().unwrap_or_else(|| vec![name.clone()]);
            let missing = expected.iter().filter(|part| !view.names.contains_key(*part));
            problems.extend(missing.map(|part| ("missing", format!("{part} {dims:?}"))));
            // What is there of a stacked parameter is not left over.
            used.extend(expected);
            continue;
        };
        used.extend(parts.iter().cloned());
        match gather(view, config, &parts, &dims) {
            Ok(tensor) => tensors.push((name, tensor)),
            Err(found) => problems.extend(found),
        }
    }
    let left_over = view.names.iter().filter(|(name, _)| !used.contains(*name) && !view.layout.ignores(name));
    problems.extend(left_over.map(|(_, original)| ("left over", original.clone())));
    if problems.is_empty() {
        return Ok(tensors);
    }
    Err(listing(view, config, problems))
}

fn listing(view: &View, config: &VitConfig, problems: Vec<(&str, String)>) -> Error {
    let count = problems.len();
    let mut error = Error::new(view.source.place(), format!("{count} tensors don't fit the model"));
    for (kind, text) in problems.into_iter().take(MOST_LISTED) {
        error = error.with(kind, text);
    }
    if count > MOST_LISTED {
        error = error.with("", format!("and {} more", count - MOST_LISTED));
    }
    error.help(format!(
        "read as {:?} naming: width {}, depth {}, {} heads, image {:?}, patch {}, {} classes",
        view.layout, config.width, config.depth, config.heads, config.image, config.patch, config.classes
    ))
}

/// One parameter from its parts, checked, as f32.
fn gather(
    view: &View,
    config: &VitConfig,
    parts: &[String],
    dims: &[usize],
) -> std::result::Result<Tensor, Vec<(&'static str, String)>> {
    let mut problems = Vec::new();
    let mut values: Vec<f32> = Vec::new();
    let mut part_dims = dims.to_vec();
    if let Some(first) = part_dims.first_mut() {
        *first /= parts.len();
    }
    for part in parts {
        let found = view.part_dims(part).unwrap_or_default();
        let original = view.names.get(part).map_or(part.as_str(), String::as_str);
        if !same_shape(found, &part_dims) {
            problems.push(("wrong shape", format!("{original} {found:?}, expected {part_dims:?}")));
            continue;
        }
        let is_patches = found.len() == 2 && dims.len() == 4;
        let read = view.source.read(original).and_then(to_f32);
        match read {
            Ok(tensor) => {
                let Ok(read) = tensor.values::<f32>() else { continue };
                if let Some(text) = not_finite(read) {
                    problems.push(("bad values", format!("{original} {text}")));
                } else if is_patches && view.layout == super::Layout::VitPytorch {
                    values.extend(channels_first(read, config));
                } else {
                    values.extend_from_slice(read);
                }
            }
            Err(error) => problems.push(("unreadable", error.to_string().replace('\n', ";"))),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Tensor::new(dims, &values).map_err(|error| vec![("unreadable", error.to_string().replace('\n', ";"))])
}

/// Equal but for leading ones, or a patch kernel that lies there as a matrix.
fn same_shape(found: &[usize], expected: &[usize]) -> bool {
    fn core(dims: &[usize]) -> &[usize] {
        match dims {
            [1, rest @ ..] if !rest.is_empty() => core(rest),
            _ => dims,
        }
    }
    let as_matrix = matches!((found, expected), ([d, n], [width, rest @ .., _]) if rest.len() == 2 && d == width
        && Some(*n) == expected.iter().skip(1).try_fold(1_usize, |product, dim| product.checked_mul(*dim)));
    as_matrix || found == expected || core(found) == core(expected)
}

fn to_f32(tensor: Tensor) -> Result<Tensor> {
    use engine::DType::{Bf16, F16, F32, F64};
    match tensor.spec().dtype {
        F32 => Ok(tensor),
        F64 | F16 | Bf16 => tensor.cast::<f32>(),
        other => Err(Error::new("weights", "not floating point").with("dtype", other)),
    }
}

fn not_finite(values: &[f32]) -> Option<String> {
    let first = values.iter().position(|value| !value.is_finite())?;
    let count = values.iter().filter(|value| !value.is_finite()).count();
    Some(format!("has {count} NaN or infinite values, the first at element {first}"))
}

/// vit-pytorch flattens a patch as (row, column, channel); a convolution kernel is (channel, row, column).
fn channels_first(values: &[f32], config: &VitConfig) -> Vec<f32> {
    let (c, area) = (config.channels, config.patch * config.patch);
    values
        .chunks(c * area)
        .flat_map(|row| (0..c).flat_map(move |channel| row.iter().skip(channel).step_by(c).copied()))
        .collect()
}
