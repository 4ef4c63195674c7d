//! Which positions of a dilated layer are taken two by two, `t` and `t + d`, and which one by one, in
//! training and for contribution scores (predictions: `chains`).

/// The shape of one layer.
#[derive(Clone, Copy)]
pub struct Shape {
    pub filters: usize,
    pub dilation: usize,
    /// rows of x; y has `2 * dilation` less
    pub length_in: usize,
    /// take positions two by two
    pub pairs: bool,
}

impl Shape {
    #[inline(always)]
    pub fn length_out(&self) -> usize {
        self.length_in - 2 * self.dilation
    }

    /// Pairs (t, t + d), numbered block by block of 2d positions; the last block may be partial.
    pub fn n_pairs(&self) -> usize {
        if !self.pairs {
            return 0;
        }
        let (block, d) = (2 * self.dilation, self.dilation);
        self.length_out() / block * d + (self.length_out() % block).saturating_sub(d)
    }

    /// Positions without a partner.
    pub fn singles(&self) -> std::ops::Range<usize> {
        if !self.pairs {
            return 0..self.length_out();
        }
        let (block, d) = (2 * self.dilation, self.dilation);
        let (start, rest) = (self.length_out() / block * block, self.length_out() % block);
        start + rest.saturating_sub(d)..start + rest.min(d)
    }

    /// First position of pair `q`.
    #[inline(always)]
    pub fn position(&self, q: usize) -> usize {
        q / self.dilation * 2 * self.dilation + q % self.dilation
    }
}

/// Pairs `first..last` of a layer.
#[derive(Clone, Copy)]
pub struct Pairs {
    pub shape: Shape,
    pub first: usize,
    pub last: usize,
}

impl Pairs {
    pub fn none(shape: Shape) -> Self {
        Self { shape, first: 0, last: 0 }
    }

    pub fn len(&self) -> usize {
        self.last - self.first
    }

    /// Runs of neighbours: (index in the tile, position, length).
    ///
    /// Always inlined, like all that runs inside a `vectorised` body: a function of its own would
    /// be compiled for the binary's baseline.
    #[inline(always)]
    pub fn runs(self) -> Runs {
        Runs { pairs: self, next: self.first }
    }
}

/// The runs that `Pairs::runs` gives.
pub struct Runs {
    pairs: Pairs,
    next: usize,
}

impl Iterator for Runs {
    type Item = (usize, usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let Pairs { shape, first, last } = self.pairs;
        let q = self.next;
        if q >= last {
            return None;
        }
        let d = shape.dilation;
        let n = (d - q % d).min(last - q);
        self.next += n;
        Some((q - first, shape.position(q), n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_singles_cover_every_output_once() {
        for dilation in [2, 4, 8, 64] {
            for length_out in 1..300 {
                let shape = Shape {
                    filters: 1,
                    dilation,
                    length_in: length_out + 2 * dilation,
                    pairs: true,
                };
                let mut seen = vec![0; length_out];
                for q in 0..shape.n_pairs() {
                    seen[shape.position(q)] += 1;
                    seen[shape.position(q) + dilation] += 1;
                }
                shape.singles().for_each(|t| seen[t] += 1);
                assert!(seen.iter().all(|&n| n == 1), "d {dilation}, length {length_out}");
            }
        }
    }
}
