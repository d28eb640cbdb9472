//! What `spatter` takes from OpenCV: edges, distances to them, equalised histograms.

use super::filter::reflect_101;

/// Canny's edges with Sobel gradients of 3 x 3 pixels and |dx| + |dy| as their length: where it exceeds `low`, is largest across
/// the edge, and is joined to a place where it exceeds `high`.
///
/// Canny, "A computational approach to edge detection", PAMI 1986.
pub(super) fn canny(plane: &[u8], size: [usize; 2], low: i32, high: i32) -> Vec<bool> {
    let [height, width] = size;
    let gradients: Vec<[i32; 2]> = (0..height * width).map(|at| sobel(plane, size, at / width, at % width)).collect();
    let length = |y: isize, x: isize| {
        let inside = y >= 0 && x >= 0 && y < height.cast_signed() && x < width.cast_signed();
        if !inside {
            return 0; // beyond the image nothing is an edge
        }
        let [dx, dy] = gradients[y.cast_unsigned() * width + x.cast_unsigned()];
        dx.abs() + dy.abs()
    };
    let largest = |at: usize| {
        let (y, x) = ((at / width).cast_signed(), (at % width).cast_signed());
        let here = length(y, x);
        let [dx, dy] = gradients[at];
        // tan(22.5 degrees) with 15 bits, and tan(67.5) = tan(22.5) + 2: which of four directions is across.
        let (flat, steep) = (dx.abs() * 13_573, dx.abs() * 13_573 + (dx.abs() << 16));
        let rise = dy.abs() << 15;
        if rise < flat {
            here > length(y, x - 1) && here >= length(y, x + 1)
        } else if rise > steep {
            here > length(y - 1, x) && here >= length(y + 1, x)
        } else {
            let side = if (dx ^ dy) < 0 { -1 } else { 1 };
            here > length(y - 1, x - side) && here > length(y + 1, x + side)
        }
    };
    let lengths: Vec<i32> = gradients.iter().map(|[dx, dy]| dx.abs() + dy.abs()).collect();
    let candidate: Vec<bool> = (0..lengths.len()).map(|at| lengths[at] > low && largest(at)).collect();
    let sure: Vec<usize> = (0..lengths.len()).filter(|&at| candidate[at] && lengths[at] > high).collect();
    joined(&candidate, sure, width)
}

/// Horizontal and vertical derivative; the border pixel continues outward.
fn sobel(plane: &[u8], [height, width]: [usize; 2], y: usize, x: usize) -> [i32; 2] {
    let value = |dy: usize, dx: usize| {
        let (y, x) = ((y + dy).saturating_sub(1).min(height - 1), (x + dx).saturating_sub(1).min(width - 1));
        i32::from(plane[y * width + x])
    };
    let across = |dy: usize| value(dy, 2) - value(dy, 0);
    let along = |dx: usize| value(2, dx) - value(0, dx);
    [across(0) + 2 * across(1) + across(2), along(0) + 2 * along(1) + along(2)]
}

/// The candidates that touch, in eight directions, one of `open` or one that does.
fn joined(candidate: &[bool], mut open: Vec<usize>, width: usize) -> Vec<bool> {
    let mut edge = vec![false; candidate.len()];
    open.iter().for_each(|&at| edge[at] = true);
    while let Some(at) = open.pop() {
        let (y, x) = (at / width, at % width);
        for near_y in y.saturating_sub(1)..=y + 1 {
            for near_x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                let near = near_y * width + near_x;
                if near < edge.len() && candidate[near] && !edge[near] {
                    edge[near] = true;
                    open.push(near);
                }
            }
        }
    }
    edge
}

/// Distance of each pixel to the nearest edge, in steps of 1, 1.4 and 2.1969 (to neighbours, diagonal ones, and a knight's
/// move away), 16 fraction bits.
///
/// Borgefors, "Distance transformations in digital images", 1986.
pub(super) fn distances(edge: &[bool], [height, width]: [usize; 2]) -> Vec<f32> {
    const STEPS: [(isize, isize, u32); 8] = [
        (-2, -1, 143_976),
        (-2, 1, 143_976),
        (-1, -2, 143_976),
        (-1, -1, 91_750),
        (-1, 0, 65_536),
        (-1, 1, 91_750),
        (-1, 2, 143_976),
        (0, -1, 65_536),
    ];
    const FAR: u32 = i32::MAX.cast_unsigned() >> 2;
    let mut distance: Vec<u32> = edge.iter().map(|&edge| if edge { 0 } else { FAR }).collect();
    let mut relax = |at: usize, sign: isize| {
        let (y, x) = ((at / width).cast_signed(), (at % width).cast_signed());
        for (dy, dx, step) in STEPS {
            let (y, x) = (y + sign * dy, x + sign * dx);
            if y >= 0 && x >= 0 && y < height.cast_signed() && x < width.cast_signed() {
                let near = distance[y.cast_unsigned() * width + x.cast_unsigned()] + step;
                distance[at] = distance[at].min(near);
            }
        }
    };
    (0..edge.len()).for_each(|at| relax(at, 1));
    (0..edge.len()).rev().for_each(|at| relax(at, -1));
    #[expect(clippy::cast_precision_loss, reason = "OpenCV gives f32")]
    let unit = |distance: u32| distance as f32 / 65_536.0;
    distance.into_iter().map(unit).collect()
}

/// Sums of 3 x 3 values with weights, mirrored at the centre of the border pixels.
pub(super) fn around<T: Copy>(plane: &[T], [height, width]: [usize; 2], sum: impl Fn([T; 9]) -> T) -> Vec<T> {
    let value = |at: usize, near: usize| {
        let y = reflect_101((at / width + near / 3).cast_signed() - 1, height);
        let x = reflect_101((at % width + near % 3).cast_signed() - 1, width);
        plane[y * width + x]
    };
    (0..plane.len()).map(|at| sum(std::array::from_fn(|near| value(at, near)))).collect()
}

/// Levels replaced by the share of pixels at or below them, the lowest apart; a plane of one level stays.
pub(super) fn equalise(plane: &[u8]) -> Vec<u8> {
    let mut counts = [0_u32; 256];
    plane.iter().for_each(|&level| counts[usize::from(level)] += 1);
    let lowest = counts.iter().position(|&count| count > 0).unwrap_or(0);
    let total: u32 = counts.iter().sum();
    let rest = total - counts[lowest];
    if rest == 0 {
        return plane.to_vec();
    }
    #[expect(clippy::cast_precision_loss, reason = "OpenCV computes in f32")]
    let scale = 255.0 / rest as f32;
    let mut below = 0;
    let map: Vec<u8> = (0..counts.len())
        .map(|level| {
            below += if level > lowest { counts[level] } else { 0 };
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 255"
            )]
            let share = (below as f32 * scale).round_ties_even() as u8;
            share
        })
        .collect();
    plane.iter().map(|&level| map[usize::from(level)]).collect()
}
