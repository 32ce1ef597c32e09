//! Calls to libwebp's encoder. Nothing here looks at pixels.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use libwebp_sys as sys;

/// What is encoded. Lengths must fit the size that is given with it.
pub(super) enum Pixels<'a> {
    /// 4:2:0 in WebP's limited range.
    Planes {
        /// One byte per pixel.
        luma: Vec<u8>,
        /// One byte per 2 × 2 pixels, sides rounded up.
        blue: Vec<u8>,
        /// As `blue`.
        red: Vec<u8>,
    },
    /// Three bytes per pixel.
    Rgb(&'a [u8]),
    /// Four bytes per pixel, straight alpha.
    Rgba(&'a [u8]),
}

/// A picture that gives its memory back.
struct Picture(sys::WebPPicture);

impl Picture {
    fn new((width, height): (u32, u32)) -> Result<Self, String> {
        let mut picture = sys::WebPPicture::new().map_err(|()| "libwebp is of another version".to_owned())?;
        picture.width = int(width)?;
        picture.height = int(height)?;
        Ok(Self(picture))
    }

    /// Copies interleaved pixels. The picture is in `YUV` if `use_argb` is 0, else in ARGB.
    fn import(&mut self, pixels: &[u8], channels: u32) -> Result<(), String> {
        let stride = int(self.0.width.unsigned_abs() * channels)?;
        let needed = stride as usize * self.0.height as usize;
        if pixels.len() != needed {
            return Err(format!("{} bytes of pixels where {needed} are needed", pixels.len()));
        }
        // SAFETY: the picture is initialised, and `pixels` holds `height` rows of `stride` bytes, which libwebp only reads.
        let imported = unsafe {
            if channels == 4 {
                sys::WebPPictureImportRGBA(&raw mut self.0, pixels.as_ptr(), stride)
            } else {
                sys::WebPPictureImportRGB(&raw mut self.0, pixels.as_ptr(), stride)
            }
        };
        if imported == 0 { Err(self.error()) } else { Ok(()) }
    }

    fn error(&self) -> String {
        format!("libwebp: {:?}", self.0.error_code)
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: initialised by `WebPPicture::new`; frees what libwebp allocated for it, and nothing else.
        unsafe { sys::WebPPictureFree(&raw mut self.0) }
    }
}

fn int(value: u32) -> Result<c_int, String> {
    c_int::try_from(value).map_err(|_| format!("{value} is more than libwebp can count"))
}

/// Added to every quality below 100. Less noise shaping takes bytes from fine texture, which shows where a photo is hardly
/// reduced: at quality 80 and method 2, the ladder of a 2 MP photo has an SSIM of 0.9276 for 299 kB without this and 0.9304
/// for 315 kB with it, where libwebp's defaults at method 4, in three times the time, give 0.9297 for 295 kB.
const QUALITY_GIVEN_BACK: f32 = 0.65;

fn config(quality: u8, effort: u8) -> Result<sys::WebPConfig, String> {
    let preset = sys::WebPPreset::WEBP_PRESET_DEFAULT;
    let asked = (f32::from(quality) + QUALITY_GIVEN_BACK).min(100.0);
    let mut config = sys::WebPConfig::new_with_preset(preset, asked)
        .map_err(|()| "libwebp is of another version".to_owned())?;
    config.method = c_int::from(effort);
    // Against libwebp's defaults (filter 1 of strength 60, noise shaping 50) the simple filter at full strength and less
    // shaping give a higher SSIM for fewer bytes: 0.9482 for 173 kB against 0.9442 for 180 kB, four sizes of a 12 MP photo
    // at quality 80, method 2; libwebp's method 4 gives 0.9470 for 169 kB in two and a half times the time.
    (config.filter_type, config.filter_strength, config.sns_strength) = (0, 100, 30);
    // SAFETY: the configuration is initialised, and libwebp only reads it.
    if unsafe { sys::WebPValidateConfig(&raw const config) } == 0 {
        return Err(format!("libwebp accepts no quality {quality} with method {effort}"));
    }
    Ok(config)
}

/// Appends to the `Vec<u8>` that `custom_ptr` points to.
///
/// # Safety
/// `picture.custom_ptr` points to a `Vec<u8>` that nobody else uses meanwhile, and `data` to `size` bytes.
unsafe extern "C" fn write(data: *const u8, size: usize, picture: *const sys::WebPPicture) -> c_int {
    if size > 0 {
        // SAFETY: the contract above; libwebp calls with its own buffer and the picture that it was given.
        unsafe {
            let file = &mut *(*picture).custom_ptr.cast::<Vec<u8>>();
            file.extend_from_slice(std::slice::from_raw_parts(data, size));
        }
    }
    1
}

/// Encodes one still picture.
pub(super) fn encode(
    size: (u32, u32),
    pixels: Pixels<'_>,
    quality: u8,
    effort: u8,
) -> Result<Vec<u8>, String> {
    let config = config(quality, effort)?;
    let mut picture = Picture::new(size)?;
    // Keeps the planes alive, and where they are, until the picture is dropped.
    let mut planes = None;
    match pixels {
        Pixels::Rgb(data) => picture.import(data, 3)?,
        Pixels::Rgba(data) => picture.import(data, 4)?,
        Pixels::Planes { luma, blue, red } => {
            let half = size.0.div_ceil(2);
            let chroma = half as usize * size.1.div_ceil(2) as usize;
            if luma.len() != size.0 as usize * size.1 as usize || blue.len() != chroma || red.len() != chroma
            {
                return Err("planes of another size than the picture".to_owned());
            }
            let (luma, blue, red) = planes.insert((luma, blue, red));
            picture.0.colorspace = sys::WebPEncCSP::WEBP_YUV420;
            (picture.0.y, picture.0.y_stride) = (luma.as_mut_ptr(), int(size.0)?);
            (picture.0.u, picture.0.v) = (blue.as_mut_ptr(), red.as_mut_ptr());
            picture.0.uv_stride = int(half)?;
        }
    }
    let mut file: Vec<u8> = Vec::new();
    picture.0.writer = Some(write);
    picture.0.custom_ptr = (&raw mut file).cast::<c_void>();
    // SAFETY: configuration and picture are initialised; its planes hold what width, height and strides say; `write` gets
    // the vector that `custom_ptr` points to, which is not used before this call returns.
    let encoded = unsafe { sys::WebPEncode(&raw const config, &raw mut picture.0) };
    let error = picture.error();
    drop(picture);
    drop(planes);
    if encoded == 0 {
        return Err(error);
    }
    // Variants wait to be stored, and are charged by their length.
    file.shrink_to_fit();
    Ok(file)
}

/// An animated WebP in the making.
pub(crate) struct Animation {
    encoder: *mut sys::WebPAnimEncoder,
    size: (u32, u32),
    config: sys::WebPConfig,
    /// Whether a frame had a pixel that was not opaque.
    transparent: bool,
}

impl Animation {
    /// Without frames. `loops`: how often it is shown, 0 for ever.
    pub(crate) fn new(size: (u32, u32), loops: u16, quality: u8, effort: u8) -> Result<Self, String> {
        super::check_size(size.0, size.1)?;
        let config = config(quality, effort)?;
        let (width, height) = (int(size.0)?, int(size.1)?);
        let version = sys::WebPGetMuxABIVersion();
        // SAFETY: all zeros is a valid value of this struct of integers; the call below fills it.
        let mut options: sys::WebPAnimEncoderOptions = unsafe { std::mem::zeroed() };
        // SAFETY: `options` lives through both calls, which do not keep it.
        let encoder = unsafe {
            if sys::WebPAnimEncoderOptionsInitInternal(&raw mut options, version) == 0 {
                return Err("libwebp is of another version".to_owned());
            }
            options.anim_params.loop_count = c_int::from(loops);
            sys::WebPAnimEncoderNewInternal(width, height, &raw const options, version)
        };
        if encoder.is_null() {
            return Err("libwebp found no memory for an animation".to_owned());
        }
        Ok(Self { encoder, size, config, transparent: false })
    }

    /// Adds a frame of straight RGBA, shown from `start_ms` on. Starts do not decrease.
    pub(crate) fn add(&mut self, rgba: &[u8], start_ms: u32) -> Result<(), String> {
        self.transparent = self.transparent || rgba.iter().skip(3).step_by(4).any(|alpha| *alpha != 255);
        let mut picture = Picture::new(self.size)?;
        picture.0.use_argb = 1;
        picture.import(rgba, 4)?;
        let start = int(start_ms)?;
        // SAFETY: the encoder lives until `drop`, and copies what it needs of picture and configuration.
        let added = unsafe {
            sys::WebPAnimEncoderAdd(self.encoder, &raw mut picture.0, start, &raw const self.config)
        };
        if added == 0 { Err(self.error()) } else { Ok(()) }
    }

    /// The file. `end_ms` is when the last frame ends.
    pub(crate) fn finish(self, end_ms: u32) -> Result<Vec<u8>, String> {
        let end = int(end_ms)?;
        let mut data = sys::WebPData::default();
        // SAFETY: a null frame marks the end; `data` is written by the second call, and its bytes are libwebp's until
        // `WebPDataClear` frees them, after they were copied.
        let mut file = unsafe {
            if sys::WebPAnimEncoderAdd(self.encoder, ptr::null_mut(), end, ptr::null()) == 0
                || sys::WebPAnimEncoderAssemble(self.encoder, &raw mut data) == 0
            {
                return Err(self.error());
            }
            let file = std::slice::from_raw_parts(data.bytes, data.size).to_vec();
            sys::WebPDataClear(&mut data);
            file
        };
        // libwebp looks at the frames that it coded: of a canvas that is transparent only where an opaque frame was cleared
        // it says nothing (RFC 9649, section 2.7, the flag `L` of VP8X).
        if self.transparent
            && let Some([b'V', b'P', b'8', b'X', _, _, _, _, flags]) = file.get_mut(12..21)
        {
            *flags |= 0x10;
        }
        Ok(file)
    }

    fn error(&self) -> String {
        // SAFETY: libwebp returns a string of its own that ends with NUL and lives as long as the encoder.
        let text = unsafe { CStr::from_ptr(sys::WebPAnimEncoderGetError(self.encoder)) };
        format!("libwebp: {}", text.to_string_lossy())
    }
}

impl Drop for Animation {
    fn drop(&mut self) {
        // SAFETY: made by `WebPAnimEncoderNewInternal`, and not used afterwards.
        unsafe { sys::WebPAnimEncoderDelete(self.encoder) }
    }
}
