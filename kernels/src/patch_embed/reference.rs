//! Plain loops.

use engine::Real;

use super::Sizes;

/// Calls `visit(output row, column within the patch, image index)` for every element of every patch.
fn each(sizes: Sizes, mut visit: impl FnMut(usize, usize, usize)) {
    let (rows, columns) = sizes.grid();
    for batch in 0..sizes.batch {
        for row in 0..rows {
            for column in 0..columns {
                for channel in 0..sizes.channels {
                    for i in 0..sizes.patch {
                        for j in 0..sizes.patch {
                            let (y, x) = (row * sizes.patch + i, column * sizes.patch + j);
                            visit(
                                (batch * rows + row) * columns + column,
                                (channel * sizes.patch + i) * sizes.patch + j,
                                ((batch * sizes.channels + channel) * sizes.height + y) * sizes.width + x,
                            );
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn forward<T: Real>(sizes: Sizes, x: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
    let (embed, inner) = (sizes.embed, sizes.patch_elements());
    let mut y = vec![T::ZERO; sizes.batch * sizes.patches() * embed];
    each(sizes, |row, element, pixel| {
        for column in 0..embed {
            y[row * embed + column] += x[pixel] * weight[column * inner + element];
        }
    });
    if let Some(bias) = bias {
        for (i, y) in y.iter_mut().enumerate() {
            *y += bias[i % embed];
        }
    }
    y
}

/// Returns (dx, dW, dbias).
pub(super) fn backward<T: Real>(sizes: Sizes, x: &[T], weight: &[T], dy: &[T]) -> (Vec<T>, Vec<T>, Vec<T>) {
    let (embed, inner) = (sizes.embed, sizes.patch_elements());
    let (mut dx, mut dw, mut db) = (vec![T::ZERO; x.len()], vec![T::ZERO; weight.len()], vec![T::ZERO; embed]);
    each(sizes, |row, element, pixel| {
        for column in 0..embed {
            let dy = dy[row * embed + column];
            dx[pixel] += dy * weight[column * inner + element];
            dw[column * inner + element] += dy * x[pixel];
        }
    });
    for (i, &dy) in dy.iter().enumerate() {
        db[i % embed] += dy;
    }
    (dx, dw, db)
}
