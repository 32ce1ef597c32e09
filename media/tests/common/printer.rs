//! A colour profile of inks.

use moxcms::{
    ColorProfile, DataColorSpace, LutDataType, LutStore, LutType, LutWarehouse, Matrix3d, ProfileClass,
};

/// L*, a*, b* in the 16 bits of `lut16Type` (ICC.1:2022, section 6.3.4.2).
fn lab16([lightness, a, b]: [f64; 3]) -> [u16; 3] {
    let value = |value: f64| value.round() as u16;
    [value(lightness * 652.8), value((a + 128.0) * 256.0), value((b + 128.0) * 256.0)]
}

/// A printer with cyan ink that is red, so that it cannot be taken for the plain formula. Nothing else shows, but black.
pub(crate) fn odd_printer() -> Vec<u8> {
    const PAPER: [f64; 3] = [100.0, 0.0, 0.0];
    const RED: [f64; 3] = [54.29, 80.81, 69.89];
    const BLACK: [f64; 3] = [0.0; 3];
    let clut = (0..16).flat_map(|node| {
        // The first channel varies slowest.
        let (cyan, black) = (node & 8 != 0, node & 1 != 0);
        lab16(if black {
            BLACK
        } else if cyan {
            RED
        } else {
            PAPER
        })
    });
    let lut = LutDataType {
        num_input_channels: 4,
        num_output_channels: 3,
        num_clut_grid_points: 2,
        matrix: Matrix3d::IDENTITY,
        num_input_table_entries: 2,
        num_output_table_entries: 2,
        input_table: LutStore::Store16([0, 65_535].repeat(4)),
        clut_table: LutStore::Store16(clut.collect()),
        output_table: LutStore::Store16([0, 65_535].repeat(3)),
        lut_type: LutType::Lut16,
    };
    let mut profile = ColorProfile::new_srgb();
    (profile.color_space, profile.pcs) = (DataColorSpace::Cmyk, DataColorSpace::Lab);
    profile.profile_class = ProfileClass::OutputDevice;
    (profile.red_trc, profile.green_trc, profile.blue_trc) = (None, None, None);
    profile.lut_a_to_b_perceptual = Some(LutWarehouse::Lut(lut.clone()));
    profile.lut_a_to_b_colorimetric = Some(LutWarehouse::Lut(lut));
    profile.encode().unwrap()
}
