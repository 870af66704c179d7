//! The colours of one row: fewer than it has pixels.

use multiversion::multiversion;

/// A colour for each of `N` values of the noise, where `N` is a power of two.
#[derive(Debug)]
pub(super) struct Palette<const N: usize> {
    /// Red, green and blue in the lower three bytes.
    colours: [u32; N],
    /// The smallest value.
    first: i32,
}

impl<const N: usize> Palette<N> {
    /// The colours of the values from `first` on: `colour` at 0, and `swing` more with each value, in 256ths.
    pub(super) fn new(first: i32, colour: [i32; 3], swing: [i32; 3]) -> Self {
        const { assert!(N.is_power_of_two()) };
        let mut colours = [0; N];
        mix(&mut colours, first, colour, swing);
        Self { colours, first }
    }

    /// The colour of a value.
    #[inline]
    pub(super) fn at(&self, noise: i32) -> [u8; 3] {
        let [red, green, blue, _] = self.word(noise).to_le_bytes();
        [red, green, blue]
    }

    #[inline]
    fn word(&self, noise: i32) -> u32 {
        // The remainder changes nothing, and lets the compiler see that the index is inside.
        self.colours[(noise - self.first) as usize % N]
    }

    /// Gives each pixel the colour of its value. Four at a time are three words, which are stored faster than twelve bytes.
    pub(super) fn paint(&self, noise: &[i16], pixels: &mut [u8]) {
        let word = |noise: i16| self.word(noise.into());
        let (fours, rest) = noise.as_chunks::<4>();
        let (painted, others) = pixels.split_at_mut(12 * fours.len());
        for (pixels, noise) in painted.as_chunks_mut::<12>().0.iter_mut().zip(fours) {
            let [a, b, c, d] = noise.map(word);
            let words = [a | b << 24, b >> 8 | c << 16, c >> 16 | d << 8];
            for (bytes, word) in pixels.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                *bytes = word.to_le_bytes();
            }
        }
        for (pixel, noise) in others.as_chunks_mut::<3>().0.iter_mut().zip(rest) {
            *pixel = self.at((*noise).into());
        }
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn mix(colours: &mut [u32], first: i32, colour: [i32; 3], swing: [i32; 3]) {
    for (index, word) in colours.iter_mut().enumerate() {
        let noise = first + index as i32;
        let channel = |i: usize| ((colour[i] + swing[i] * noise) >> 8).clamp(0, 255) as u32;
        *word = channel(0) | channel(1) << 8 | channel(2) << 16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_palette_has_each_value_and_stays_inside_of_what_a_byte_holds() {
        let palette = Palette::<256>::new(-128, [100 << 8, 10 << 8, 250 << 8], [256, 256, 256]);
        assert_eq!((palette.at(0), palette.at(5), palette.at(-128)), ([100, 10, 250], [105, 15, 255], [0, 0, 122]));
        assert_eq!(palette.at(127), [227, 137, 255]);
        for count in 0..14 {
            let noise: Vec<i16> = (0..count).map(|i| i * 19 - 120).collect();
            let mut pixels = vec![0; 3 * noise.len()];
            palette.paint(&noise, &mut pixels);
            let expected: Vec<u8> = noise.iter().flat_map(|noise| palette.at((*noise).into())).collect();
            assert_eq!(pixels, expected, "{count}");
        }
    }
}
