//! The layer table: lengths and parameter shapes from (filters, n_dilation_layers, inputlen, outputlen).
//!
//! Source: official `bpnet_model`: conv of width 21, dilated convs of width 3 with dilation 2^i and a
//! cropped residual, profile conv of width 75 cropped to outputlen, global average pooling and a
//! dense layer for the counts. 'valid' everywhere.

use crate::error::Problem;

/// Shape of one BPNet branch. Kernel widths are fields because files state them; training always
/// uses the official 21, 3 and 75.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// bp in
    pub inputlen: usize,
    /// bp out
    pub outputlen: usize,
    /// channels of every hidden layer
    pub filters: usize,
    pub n_dilation_layers: usize,
    /// width of `bpnet_1st_conv`
    pub first_kernel: usize,
    /// width of `prof_out_precrop`
    pub profile_kernel: usize,
}

/// Width of every dilated convolution.
pub const DILATED_KERNEL: usize = 3;
/// One-hot columns A, C, G, T.
pub const BASES: usize = 4;

impl Architecture {
    /// The official kernel widths. Errors when the length arithmetic does not allow the shape.
    pub fn new(
        inputlen: usize,
        outputlen: usize,
        filters: usize,
        n_dilation_layers: usize,
    ) -> Result<Self, Problem> {
        let arch = Self {
            inputlen,
            outputlen,
            filters,
            n_dilation_layers,
            first_kernel: 21,
            profile_kernel: 75,
        };
        arch.check()?;
        Ok(arch)
    }

    /// The official assertions on lengths, as one message each.
    pub fn check(&self) -> Result<(), Problem> {
        let place = format!(
            "inputlen {}, outputlen {}, filters {}, n_dilation_layers {}",
            self.inputlen, self.outputlen, self.filters, self.n_dilation_layers
        );
        if self.filters == 0 || self.outputlen == 0 {
            return Err(Problem::new("filters and outputlen must be at least 1").at(place));
        }
        if !self.inputlen.is_multiple_of(2) || !self.outputlen.is_multiple_of(2) {
            return Err(Problem::new("inputlen and outputlen must be even").at(place));
        }
        if self.n_dilation_layers > 24 {
            return Err(Problem::new("more than 24 dilated layers cannot fit any input").at(place));
        }
        let lost = self.context();
        if self.inputlen < self.outputlen + lost {
            return Err(Problem::new(format!(
                "inputlen {} is too short: the convolutions consume {lost} bp, so outputlen {} needs at least {}",
                self.inputlen,
                self.outputlen,
                self.outputlen + lost
            ))
            .at(place)
            .fix("raise --inputlen, or lower --outputlen or --n-dilation-layers"));
        }
        if !self.profile_len().is_multiple_of(2) {
            return Err(Problem::new(format!(
                "the profile convolution gives {} positions, which cannot be cropped evenly to {}",
                self.profile_len(),
                self.outputlen
            ))
            .at(place));
        }
        Ok(())
    }

    /// bp that the convolutions consume: inputlen - profile_len.
    pub fn context(&self) -> usize {
        let dilated: usize =
            (1..=self.n_dilation_layers).map(|i| (DILATED_KERNEL - 1) * self.dilation(i)).sum();
        self.first_kernel - 1 + dilated + self.profile_kernel - 1
    }

    /// Dilation of layer `i`, counted from 1.
    pub fn dilation(&self, i: usize) -> usize {
        1 << i
    }

    /// Length of the feature map after layer `i`; 0 is the first convolution.
    pub fn trunk_len(&self, i: usize) -> usize {
        let lost: usize = (1..=i).map(|j| (DILATED_KERNEL - 1) * self.dilation(j)).sum();
        self.inputlen - (self.first_kernel - 1) - lost
    }

    /// Length of the profile convolution's output before the crop.
    pub fn profile_len(&self) -> usize {
        self.trunk_len(self.n_dilation_layers) - (self.profile_kernel - 1)
    }

    /// Positions cropped from either side of the profile.
    pub fn profile_crop(&self) -> usize {
        self.profile_len() / 2 - self.outputlen / 2
    }

    /// Numbers in all parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameter_shapes().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Name and shape of every parameter, in Keras order. Names are those of a bias model
    /// (`bpnet_1st_conv/kernel`); `files::keras_h5` renames them for the main branch.
    /// Kernels are [width, in, out], the dense kernel [in, out].
    pub fn parameter_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let c = self.filters;
        let mut shapes = vec![
            ("bpnet_1st_conv/kernel".to_string(), vec![self.first_kernel, BASES, c]),
            ("bpnet_1st_conv/bias".to_string(), vec![c]),
        ];
        for i in 1..=self.n_dilation_layers {
            shapes.push((format!("bpnet_{i}conv/kernel"), vec![DILATED_KERNEL, c, c]));
            shapes.push((format!("bpnet_{i}conv/bias"), vec![c]));
        }
        shapes.push(("prof_out_precrop/kernel".to_string(), vec![self.profile_kernel, c, 1]));
        shapes.push(("prof_out_precrop/bias".to_string(), vec![1]));
        shapes.push(("logcount_predictions/kernel".to_string(), vec![c, 1]));
        shapes.push(("logcount_predictions/bias".to_string(), vec![1]));
        shapes
    }

    /// Multiply-adds of one forward pass of one example, times two.
    pub fn forward_flops(&self) -> f64 {
        let c = self.filters as f64;
        let first = self.trunk_len(0) as f64 * (self.first_kernel * BASES) as f64 * c;
        let dilated: f64 = (1..=self.n_dilation_layers)
            .map(|i| self.trunk_len(i) as f64 * DILATED_KERNEL as f64 * c * c)
            .sum();
        let profile = self.outputlen as f64 * self.profile_kernel as f64 * c;
        2.0 * (first + dilated + profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn official_lengths() {
        let full = Architecture::new(2114, 1000, 512, 8).unwrap();
        assert_eq!(full.trunk_len(0), 2094);
        assert_eq!(full.trunk_len(8), 1074);
        assert_eq!((full.profile_len(), full.profile_crop()), (1000, 0));
        let bias = Architecture::new(2114, 1000, 128, 4).unwrap();
        assert_eq!((bias.profile_len(), bias.profile_crop()), (1960, 480));
    }

    #[test]
    fn too_short_input_names_the_length_needed() {
        let message = Architecture::new(2112, 1000, 8, 8).unwrap_err().to_string();
        assert!(message.contains("at least 2114"), "{message}");
        assert!(Architecture::new(2115, 1000, 8, 8).is_err());
        assert!(Architecture::new(0, 0, 8, 8).is_err());
    }
}
