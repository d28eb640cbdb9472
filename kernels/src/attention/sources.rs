//! Kernel files of attention that are written for one width of heads each.

use engine::device::source::Source;

/// The kernels' files for heads of one width.
pub(super) struct Files {
    pub width: usize,
    pub forward: Source,
    pub backward: Source,
}

/// The kernels of a width in a folder: a macro, for the compiler reads the files.
macro_rules! of_width {
    ($folder:literal, $width:literal, $ending:literal) => {
        $crate::attention::sources::Files {
            width: $width,
            forward: $crate::common::cuda::source(
                concat!("kernels/src/attention/", $folder, "/forward", $width, $ending),
                include_str!(concat!($folder, "/forward", $width, $ending)),
            ),
            backward: $crate::common::cuda::source(
                concat!("kernels/src/attention/", $folder, "/backward", $width, $ending),
                include_str!(concat!($folder, "/backward", $width, $ending)),
            ),
        }
    };
}

pub(super) use of_width;
