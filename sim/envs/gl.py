"""Where MuJoCo can draw. It asks once, when it is imported: the choice is made before that."""

from __future__ import annotations

import ctypes
import logging
import os
import warnings
from typing import Final

from robots.base import RobotError

log = logging.getLogger(__name__)

VARIABLE: Final = "MUJOCO_GL"
_OFF: Final = ("disable", "disabled", "off", "false", "0")
# Best first. EGL needs no display, and a DISPLAY that is named need not be there.
_WAYS: Final = ("egl", "glfw", "osmesa")

_EGL_DEVICE: Final = 0x313F  # EGL_PLATFORM_DEVICE_EXT
_MAX_DEVICES: Final = 16


def choose_gl() -> None:
    """Set MUJOCO_GL unless it is set: EGL, a window system, OSMesa, or nothing, as it works."""
    if os.environ.get(VARIABLE):
        return
    # Said outright: left to itself, MuJoCo loads a window system that is not there.
    os.environ[VARIABLE] = next((word for word in _WAYS if _works(word)), "disabled")
    log.debug("MuJoCo draws with %s", os.environ[VARIABLE])


def require_gl(what: str) -> None:
    """Raises RobotError with the package to install where nothing can draw."""
    if os.environ.get(VARIABLE) in _OFF:
        raise RobotError(
            f"{what} needs OpenGL, and there is neither a display nor EGL nor OSMesa "
            f"({VARIABLE}={os.environ[VARIABLE]}). On Debian: apt install libegl1 libegl-mesa0 "
            f"(or libosmesa6), then start again without {VARIABLE}, or with {VARIABLE}=egl."
        )


def cannot_draw(what: str, error: Exception) -> RobotError:
    """The error to raise where OpenGL was there and failed."""
    return RobotError(
        f"{what}: OpenGL failed with {VARIABLE}={os.environ.get(VARIABLE)} "
        f"({type(error).__name__}: {error}). Start again without {VARIABLE}, or with "
        f"{VARIABLE}=egl; {VARIABLE}=disabled goes without pictures."
    )


def _works(word: str) -> bool:
    """Whether it can be used here. MuJoCo, told to use what cannot, fails when it is imported."""
    try:
        if word == "egl":
            return _some_device_opens(ctypes.CDLL("libEGL.so.1"))
        if word == "glfw":
            return _a_display_opens()
        ctypes.CDLL("libOSMesa.so.8")
    except OSError:
        return False
    return True


def _a_display_opens() -> bool:
    """Asked of GLFW itself: the variables that name a display are often left over."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        import glfw
    except ImportError:  # the library below it included
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what it cannot open
        opens = bool(glfw.init())
        glfw.terminate()
    return opens


def _some_device_opens(egl: ctypes.CDLL) -> bool:
    """The library alone is not enough: containers often have it without any driver."""
    pointer, number = ctypes.c_void_p, ctypes.c_int
    egl.eglGetProcAddress.restype = pointer
    egl.eglInitialize.argtypes = [pointer, pointer, pointer]
    query = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    display_of = egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    if not query or not display_of:
        return False
    devices, found = (pointer * _MAX_DEVICES)(), number(0)
    ask = ctypes.CFUNCTYPE(ctypes.c_uint, number, pointer, pointer)(query)
    if not ask(_MAX_DEVICES, ctypes.addressof(devices), ctypes.addressof(found)):
        return False
    open_display = ctypes.CFUNCTYPE(pointer, ctypes.c_uint, pointer, pointer)(display_of)
    displays = (open_display(_EGL_DEVICE, device, None) for device in devices[: found.value])
    return any(display and egl.eglInitialize(display, None, None) for display in displays)
