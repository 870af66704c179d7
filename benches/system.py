"""What the whole system costs: from camera to control, from camera to browser, and of the processors.

Usage: system.py PATH_OF_LKAS [--original FOLDER] [--seconds S] [--into FILE]

Detection, decision, broker and viewer run; a camera writes 30 frames of 800x600 a second; 0, 1 and 4 browsers watch. With
`--original` the system in Python that this one took its messages and ports from does the same in turn: FOLDER is a checkout of
it (smwkbgmn/ADS_Autonomous-Lane-Detection), with what it needs installed: numpy, opencv-python-headless, pyyaml, pyzmq, rich,
websockets. For this system's camera the package in ../python must be installed; browsers need websockets and opencv.

A frame's number is drawn into its sky, so that browsers know which one they got. Camera to control is from before the frame is
written until its control is there, camera to browser until its JPEG has come over the WebSocket, without what a browser needs to
show it. The processor's time is what the kernel counts for all processes of the system, but not for camera and browsers.
"""

import argparse
import asyncio
import contextlib
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

FPS = 30
SHAPE = (600, 800, 3)
BLOCK = 16
BITS = 16
VIEWERS = (0, 1, 4)
KEPT = 1 << BITS
# Until everything runs evenly, in seconds.
SETTLES = 3.0
REPORT = """## the whole system

**What does all of it cost, from camera to control and from camera to browser, and of the processors?**

`cargo verify benches --deep` (`benches/system.py`). Detection, decision, broker and viewer run; a camera in Python writes {fps} \
frames of 800x600 a second; 0, 1 and 4 browsers in Python take them over the page's WebSocket, for {seconds:.0f} s each, on \
{processors} processors. Camera to control is from before a frame is written until its control is there, camera to browser until \
its JPEG has come. The processor's time is that of the system's processes, of one processor, without camera and browsers. \
*original* is the system in Python that this one took its messages and ports from (smwkbgmn/ADS_Autonomous-Lane-Detection), \
where `LKAS_ORIGINAL` names a checkout of it: the same frames, its own detection with OpenCV, in turn.

*Not shown*: what a browser needs to show a frame; the cost of the simulation, which the original leaves to CARLA.
"""
NAMESPACE = os.environ.setdefault("LKAS_BENCH", f"bench-{os.getpid()}")


def road(number):
    """A straight road at 50 km/h: a white line on the right, a broken one on the left."""
    image = np.empty(SHAPE, np.uint8)
    image[:300] = (150, 190, 220)
    image[300:] = (90, 92, 95)
    rows = np.arange(330, 600)
    for side, broken in ((-1, True), (1, False)):
        for row in rows:
            ahead = 1.2 * 480 / (row - 299.5)
            if broken and (ahead + number * 14 / FPS) % 9 > 3.6:
                continue
            middle = 400 + side * 1.75 * 480 / ahead
            half = 0.075 * 480 / ahead
            image[row, max(0, int(middle - half)) : max(0, int(middle + half) + 1)] = 230
    return image


def draw_number(image, number):
    """Draws the number of a frame into its sky."""
    for bit in range(BITS):
        image[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 if number >> bit & 1 else 0


def number_of(image):
    """The number that is drawn into a picture."""
    half = BLOCK // 2
    return sum(1 << bit for bit in range(BITS) if image[half, bit * BLOCK + half].mean() > 127)


class Frames:
    """What the camera says of each frame, in seconds of the clock that all processes share; zero where it is not so yet."""

    def __init__(self, create=False):
        self.path = f"/dev/shm/{NAMESPACE}-frames"
        # When it was taken, and when its control was there.
        self.taken, self.answered = np.memmap(self.path, np.float64, "w+" if create else "r+", shape=(2, KEPT))


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def film(channels):
    """The camera: writes frames for ever, and looks for their controls."""
    write, newest_control = channels
    frames = Frames()
    pictures = [road(number) for number in range(60)]
    due = time.monotonic()
    for number in range(1, KEPT):
        due = max(due + 1 / FPS, time.monotonic())
        picture = pictures[number % len(pictures)]
        draw_number(picture, number)
        time.sleep(max(0.0, due - time.monotonic()))
        frames.taken[number] = time.monotonic()
        write(picture, frames.taken[number], number)
        while time.monotonic() < due + 0.9 / FPS:
            if newest_control() >= number:
                frames.answered[number] = time.monotonic()
                break
            time.sleep(0.00005)


def our_channels():
    import lkas_channels as lkas

    frames = lkas.ImageWriter("camera_feed", SHAPE, namespace=NAMESPACE)
    controls = lkas.ControlReader("vehicle_control", namespace=NAMESPACE, wait=30)

    def write(picture, taken, number):
        frames.write(picture, frame_id=number, timestamp=taken)

    def newest_control():
        control = controls.latest()
        return control.frame_id if control else -1

    return write, newest_control


def original_channels():
    from lkas.integration.shared_memory import channels

    # Its servers create both.
    patience = {"create": False, "retry_count": 60, "retry_delay": 0.5}
    frames = channels.SharedMemoryImageChannel("camera_feed", SHAPE, **patience)
    controls = channels.SharedMemoryControlChannel("control_commands", **patience)

    def newest_control():
        return channels.SharedControlHeader.unpack(bytes(controls.header_view)).frame_id

    return frames.write, newest_control


async def watch(url, seconds):
    """A browser: says how many milliseconds old each frame was when it had come."""
    import cv2
    import websockets

    frames = Frames()
    ages, seen = [], set()
    async with websockets.connect(url, max_size=None) as socket:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(socket.recv(), left)
            except asyncio.TimeoutError:
                break
            came = time.monotonic()
            if isinstance(message, str):
                continue
            start = message.find(b"\xff\xd8")
            picture = cv2.imdecode(np.frombuffer(message, np.uint8, offset=start), cv2.IMREAD_COLOR)
            number = number_of(picture)
            if start > 0:
                # This system's browsers say when they are ready for the next one.
                await socket.send(json.dumps({"type": "ack", "work_ms": int((time.monotonic() - came) * 1e3)}))
            if number not in seen and frames.taken[number]:
                seen.add(number)
                ages.append((came - frames.taken[number]) * 1e3)
    print(json.dumps(ages))


def processes_of(roots):
    """These processes and all that they started."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry))
    found, left = [], list(roots)
    while left:
        found.append(left.pop())
        left += parents.get(found[-1], [])
    return found


def processor_s(roots):
    total = 0
    for process in processes_of(roots):
        fields = open(f"/proc/{process}/stat").read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


class System:
    """One of the systems, running, with its camera."""

    def __init__(self, name, commands, url, environment):
        self.name, self.url = name, url
        self.environment = {**os.environ, **environment}
        self.folder = tempfile.TemporaryDirectory()
        self.log = open(f"{self.folder.name}/log", "wb")
        self.frames = Frames(create=True)
        self.camera = self.run("--film", name)
        self.children = [self.start(command) for command in commands]
        try:
            self.await_frames()
        except BaseException:
            self.close()
            raise

    def await_frames(self):
        deadline = time.monotonic() + 60
        while not self.ages([self.watch(1.0)]):
            self.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name}: no frame comes; it said\n{self.said()}")

    def start(self, command, **further):
        options = {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log, "start_new_session": True}
        options.update(further)
        return subprocess.Popen(command, env=self.environment, cwd=self.folder.name, **options)

    def run(self, *arguments, **further):
        return self.start([sys.executable, os.path.abspath(__file__), *arguments], **further)

    def said(self):
        return open(self.log.name, errors="replace").read()[-3000:]

    def check(self):
        for child in [self.camera, *self.children]:
            if child.poll() is not None:
                raise SystemExit(f"{self.name}: a process ended with {child.returncode}; said was\n{self.said()}")

    def watch(self, seconds):
        return self.run("--watch", self.url, "--seconds", str(seconds), stdout=subprocess.PIPE)

    def ages(self, browsers):
        return [age for browser in browsers for age in json.loads(browser.communicate()[0] or "[]")]

    def measure(self, viewers, seconds):
        browsers = [self.watch(seconds + SETTLES) for _ in range(viewers)]
        time.sleep(SETTLES)
        roots = [child.pid for child in self.children]
        first, start, before = np.count_nonzero(self.frames.taken), time.monotonic(), processor_s(roots)
        time.sleep(seconds)
        share = 100 * (processor_s(roots) - before) / (time.monotonic() - start)
        last = np.count_nonzero(self.frames.taken)
        self.check()
        took = (self.frames.answered - self.frames.taken)[first + 1 : last]
        answered = [milliseconds for milliseconds in took * 1e3 if milliseconds > 0]
        ages = self.ages(browsers)
        return {"processor": share, "control": answered, "browser": ages, "answered": 100 * len(answered) / len(took)}

    def close(self):
        for child in [*reversed(self.children), self.camera]:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(20)
            # Whatever it started, or did not end itself.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        for left in glob.glob(f"/dev/shm/{NAMESPACE}[.-]*"):
            os.remove(left)
        self.folder.cleanup()


def ours(program):
    base, page = 25_557, 28_080
    options = ["--namespace", NAMESPACE, "--broker-port", str(base)]
    programs = ["detection", "decision", "broker", "viewer"]
    commands = [[program, name, *options, *(["--port", str(page)] if name == "viewer" else [])] for name in programs]
    return System("ours", commands, f"ws://127.0.0.1:{page}/ws", {})


def original(folder):
    config, page = os.path.join(folder, "config.yaml"), 28_090
    # Its viewer imports what only its simulation needs.
    stubs = tempfile.TemporaryDirectory()
    with open(f"{stubs.name}/carla.py", "w") as stub:
        stub.write("def __getattr__(name):\n    return type(name, (), {})\n")
    commands = [
        [sys.executable, "-m", "lkas.run", "--method", "cv", "--broadcast", "--config", config],
        [sys.executable, "-m", "viewer.run", "--port", str(page), "--config", config],
    ]
    path = os.pathsep.join([os.path.join(folder, "src"), stubs.name])
    system = System("original", commands, f"ws://127.0.0.1:{page + 1}", {"PYTHONPATH": path})
    # There for as long as the system is.
    system.stubs = stubs
    return system


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?")
    parser.add_argument("--original")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--into")
    parser.add_argument("--film", choices=["ours", "original"])
    parser.add_argument("--watch")
    arguments = parser.parse_args()
    if arguments.film:
        return film(our_channels() if arguments.film == "ours" else original_channels())
    if arguments.watch:
        return asyncio.run(watch(arguments.watch, arguments.seconds))
    systems = [lambda: ours(os.path.abspath(arguments.program))]
    if arguments.original:
        systems.append(lambda: original(os.path.abspath(arguments.original)))
    lines = [REPORT.format(fps=FPS, processors=os.cpu_count(), seconds=arguments.seconds)]
    heads = ["1 browser" if count == 1 else f"{count} browsers" for count in VIEWERS]
    lines.append(f"| | {' | '.join(heads)} |")
    lines.append("|---|" + "---:|" * len(VIEWERS))
    for start in systems:
        system = start()
        try:
            found = [system.measure(viewers, arguments.seconds) for viewers in VIEWERS]
        finally:
            system.close()

        def row(what, unit, values):
            words = [f"{value:.{1 if value < 100 else 0}f} {unit}" if value == value else "-" for value in values]
            lines.append(f"| {system.name}: {what} | {' | '.join(words)} |")

        row("processor, all processes", "%", [each["processor"] for each in found])
        for key, words in (("control", "camera to control"), ("browser", "camera to browser")):
            for share, name in ((0.5, "p50"), (0.99, "p99")):
                row(f"{words}, {name}", "ms", [percentile(each[key], share) for each in found])
        row("frames that were answered before the next", "%", [each["answered"] for each in found])
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.into:
        with open(arguments.into, "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()
