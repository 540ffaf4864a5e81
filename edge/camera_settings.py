"""Settings of the camera and of what judges its pictures; `edge.settings` has all of them."""

from typing import Literal, Self

from pydantic import Field, model_validator

from edge.setting_types import AnyPath, Even, Seconds, Section, Share


class CameraSettings(Section):
    """Which camera, how large, how fast."""

    driver: Literal["picamera2", "replay"] = "picamera2"
    number: int = Field(default=0, ge=0, le=15, description="camera number of libcamera")
    main_width: Even = 1280
    main_height: Even = 960
    lores_width: Even = 320
    lores_height: Even = 240
    fps: float = Field(default=15.0, ge=1.0, le=60.0, description="frames a second")
    idle_fps: float = Field(
        default=7.5, ge=1.0, le=60.0, description="the same while nobody is in view; at most fps"
    )
    rotation: Literal[0, 90, 180, 270] = Field(
        default=0, description="degrees clockwise, of the picture, until heads are up"
    )
    mirror: bool = False
    zoom: float = Field(
        default=1.0, ge=1.0, le=4.0, description="of the middle, for people far away"
    )
    focus_m: float = Field(
        default=0.7, ge=0.1, le=10.0, description="metres; of a lens that can be moved"
    )
    mains_hz: Literal[0, 50, 60] = Field(default=50, description="of the lamps; 0: they are steady")
    wide_range: bool = Field(
        default=False, description="wide dynamic range of the sensor, where it has it"
    )
    face_stops: float = Field(
        default=3.0,
        ge=0.0,
        le=6.0,
        description="most that a face may change the exposure; 0: metering is the camera's own",
    )
    warm_c: float = Field(
        default=72.0, ge=40.0, le=85.0, description="degrees Celsius; fewer frames from here on"
    )
    stall_timeout: Seconds = Field(default=1.0, description="seconds without a frame")
    replay: AnyPath | None = Field(default=None, description="folder of photos or a video file")
    replay_loop: bool = False

    @model_validator(mode="after")
    def _replay_has_a_path(self) -> Self:
        if self.driver == "replay" and self.replay is None:
            raise ValueError("driver replay needs camera.replay: a folder of photos or a video")
        return self


class QualityLimits(Section):
    """Which faces can be judged; also the gates of enrolment.

    Levels are those of luma, 0 (black) to 255, in the crop that identity is judged by.
    """

    min_face_px: float = Field(
        default=80.0, ge=16.0, le=2000.0, description="pixels, about the face's width"
    )
    min_sharpness: float = Field(default=20.0, ge=0.0, description="variance of the Laplacian")
    min_bright: float = Field(
        default=70.0, ge=0.0, le=255.0, description="level of the face's brightest hundredth"
    )
    min_backlit_bright: float = Field(
        default=100.0, ge=0.0, le=255.0, description="the same where the surroundings glare"
    )
    max_luma: float = Field(default=225.0, ge=0.0, le=255.0, description="mean level")
    min_contrast: float = Field(default=12.0, ge=0.0, le=128.0, description="deviation of level")
    max_yaw: float = Field(default=35.0, ge=5.0, le=90.0, description="degrees")
    max_pitch: float = Field(default=30.0, ge=5.0, le=90.0, description="degrees")
    max_roll: float = Field(default=30.0, ge=5.0, le=90.0, description="degrees")


class InferenceSettings(Section):
    """The networks."""

    models: AnyPath | None = Field(default=None, description="folder; default: the shipped models")
    threads: int = Field(default=1, ge=1, le=8)
    detector_score: Share = Field(default=0.5, description="least confidence of a face")
    smile_frames: int = Field(default=3, ge=1, le=15, description="frames the smile is smoothed")
    quality: QualityLimits = QualityLimits()
