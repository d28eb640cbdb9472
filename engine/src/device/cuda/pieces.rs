//! Launches of one kernel that may run side by side and become one: a conversion of every parameter, for instance.

use super::exec::{CudaExec, Grid, Kernel, Key, Param, Params, Whole};
use crate::error::Result;

/// Most pieces of a launch: their words are parameters of the kernel, which may have 4 KiB.
const MOST: usize = 64;

/// Words of a piece.
const WORDS: usize = 4;

/// A piece of a launch. Kernels receive a struct of 64-bit words: the number of pieces; the first block of each, 64 of them;
/// four words of each.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// What it reads: an address, and bytes.
    pub reads: (Param, usize),
    /// What it writes.
    pub writes: (Param, usize),
    /// Blocks that it takes.
    pub blocks: usize,
    /// What the kernel knows of it.
    pub words: [Param; WORDS],
}

/// The pieces of a launch that may still grow.
pub(super) struct Pieces {
    kernel: Key,
    list: Vec<Piece>,
}

fn overlap((a, a_bytes): (Param, usize), (b, b_bytes): (Param, usize)) -> bool {
    let end = |start: Param, bytes| start.after(bytes).0;
    a.0 < end(b, b_bytes) && b.0 < end(a, a_bytes)
}

impl Pieces {
    /// Whether a piece may run beside those that are there, in any order.
    fn takes(&self, kernel: &Kernel, piece: &Piece) -> bool {
        let apart = |other: &Piece| {
            !overlap(piece.writes, other.writes)
                && !overlap(piece.writes, other.reads)
                && !overlap(piece.reads, other.writes)
        };
        self.kernel == kernel.key() && self.list.len() < MOST && self.list.iter().all(apart)
    }

    fn blocks(&self) -> usize {
        self.list.iter().map(|piece| piece.blocks).sum()
    }

    fn words(&self) -> Vec<u64> {
        let mut words = vec![0; 1 + MOST + WORDS * MOST];
        let (head, tail) = words.split_at_mut(1 + MOST);
        let (count, firsts) = head.split_at_mut(1);
        count.fill(Param::from(self.list.len()).0);
        let mut first = 0;
        for ((piece, begin), own) in self.list.iter().zip(firsts).zip(tail.chunks_exact_mut(WORDS)) {
            *begin = Param::from(first).0;
            first += piece.blocks;
            for (word, param) in own.iter_mut().zip(piece.words) {
                *word = param.0;
            }
        }
        words
    }
}

impl CudaExec {
    /// Launches `kernel` for a piece, in blocks of `threads` threads: together with those right before it where none reads or
    /// writes what another writes. Nothing is launched for no blocks.
    ///
    /// # Errors
    /// As [`CudaExec::launch`].
    pub fn launch_piece(&mut self, kernel: Kernel, threads: u32, piece: Piece) -> Result<()> {
        if piece.blocks == 0 {
            return Ok(());
        }
        let before = if self.apart { None } else { self.pending.pop_if(|last| last.takes(&kernel, &piece)) };
        let mut pieces = before
            .and_then(|pending| pending.pieces)
            .unwrap_or_else(|| Pieces { kernel: kernel.key(), list: Vec::new() });
        pieces.list.push(piece);
        let params = Params::Wholes(vec![Whole::from_words(pieces.words())]);
        self.push(kernel, Grid::new(pieces.blocks(), threads), params)?;
        if let Some(last) = self.pending.last_mut() {
            last.pieces = Some(pieces);
        }
        Ok(())
    }

    /// Every launch stays as it is: somebody looks at memory between them.
    pub(in crate::device) fn keep_apart(&mut self) {
        self.apart = true;
    }
}

impl super::exec::Pending {
    fn takes(&self, kernel: &Kernel, piece: &Piece) -> bool {
        self.pieces.as_ref().is_some_and(|pieces| pieces.takes(kernel, piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::source::Source;
    use crate::dtype::DType;

    static SOURCE: Source = Source { file: "a.cu", text: "", library: &[] };

    fn piece(reads: usize, writes: usize) -> Piece {
        Piece { reads: (reads.into(), 100), writes: (writes.into(), 100), blocks: 1, words: [Param::NULL; WORDS] }
    }

    #[test]
    fn pieces_join_where_their_memory_is_apart() {
        let kernel = Kernel::new(&SOURCE, "narrow", DType::F32);
        let pieces = Pieces { kernel: kernel.key(), list: vec![piece(1000, 2000)] };
        assert!(pieces.takes(&kernel, &piece(1000, 2100)), "both may read the same");
        assert!(pieces.takes(&kernel, &piece(1100, 1900)));
        for (reads, writes, what) in
            [(3000, 2099, "writes twice"), (2099, 3000, "reads what is written"), (3000, 901, "writes what is read")]
        {
            assert!(!pieces.takes(&kernel, &piece(reads, writes)), "{what}");
        }
        assert!(!pieces.takes(&Kernel::new(&SOURCE, "widen", DType::F32), &piece(3000, 4000)), "another kernel");
        let full = Pieces { kernel: kernel.key(), list: vec![piece(1000, 2000); MOST] };
        assert!(!full.takes(&kernel, &piece(3000, 4000)), "one more than the kernel takes");
    }

    #[test]
    fn a_kernel_finds_its_pieces_first_blocks_and_words() {
        let kernel = Kernel::new(&SOURCE, "narrow", DType::F32);
        let first =
            Piece { blocks: 3, words: [7_u32.into(), 8_u32.into(), 9_u32.into(), 10_u32.into()], ..piece(0, 200) };
        let pieces = Pieces { kernel: kernel.key(), list: vec![first, piece(1000, 2000)] };
        let words = pieces.words();
        assert_eq!((words[0], &words[1..3], &words[1 + MOST..1 + MOST + WORDS]), (2, &[0, 3][..], &[7, 8, 9, 10][..]));
        assert_eq!((pieces.blocks(), words.len()), (4, 1 + MOST + WORDS * MOST));
    }
}
