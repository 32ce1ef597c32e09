#![no_main]

darkroom_media_fuzz::target!("jxl");
