"""The .glb in an independent reader: three.js' GLTFLoader in a real browser puts every vertex where the rig does."""

import base64
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from deeptalk.export.gltf import write_gltf
from deeptalk.face import load_rig
from deeptalk.face.head_pose import head_pivot, turn_head
from deeptalk.face.idle import idle_life
from deeptalk.take import Take

pytestmark = [pytest.mark.browser]
THREE = Path(__file__).parents[1] / "assets" / "three_gltf.min.js"
READ = """async ([content, times]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const gltf = await new THREE.GLTFLoader().parseAsync(bytes.buffer, "");
  const mixer = new THREE.AnimationMixer(gltf.scene), clip = gltf.animations[0];
  const action = mixer.clipAction(clip);
  action.setLoop(THREE.LoopOnce);
  action.clampWhenFinished = true;
  action.play();
  const meshes = [];
  gltf.scene.traverse((one) => { if (one.isMesh) meshes.push(one); });
  const out = [], at = new THREE.Vector3();
  for (const time of times) {
    mixer.setTime(time);
    gltf.scene.updateMatrixWorld(true);
    const frame = [];
    for (const mesh of meshes)
      for (let v = 0; v < mesh.geometry.attributes.position.count; v++) {
        mesh.getVertexPosition(v, at).applyMatrix4(mesh.matrixWorld);
        frame.push(at.x, at.y, at.z);
      }
    out.push(frame);
  }
  const names = Object.keys(meshes[0].morphTargetDictionary);
  const counts = meshes.map((mesh) => mesh.geometry.attributes.position.count);
  return { out, names, counts, duration: clip.duration, materials: meshes.map((mesh) => mesh.material.name),
    own: meshes.map((mesh) => mesh.geometry.userData.rig_vertices) };
}"""


@pytest.fixture(scope="module")
def three():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, in the extra dev")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium on PATH")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(path=str(THREE))
        yield page
        browser.close()


def test_three_js_puts_every_vertex_where_the_rig_does(three, tmp_path):
    rig, frames, rate = load_rig("arkit"), 75, 25.0
    rng = np.random.default_rng(0)
    motion = rng.random((frames, 52), dtype=np.float32)
    turns = idle_life(frames, rate, 3).head_rotation_radians
    path = tmp_path / "take.glb"
    write_gltf(Take(motion, head_rotation_radians=turns), path)
    times = np.sort(rng.uniform(0, (frames - 1) / rate, 20))
    read = three.evaluate(READ, [base64.b64encode(path.read_bytes()).decode(), times.tolist()])
    assert tuple(read["names"]) == rig.channels
    assert read["duration"] == pytest.approx((frames - 1) / rate)
    theirs = np.array(read["out"]).reshape(len(times), -1, 3)

    def at(values):
        return np.stack([np.interp(times * rate, np.arange(frames), column) for column in values.T], axis=1)

    vertices = rig.vertices(torch.from_numpy(at(motion))).numpy()
    ours = turn_head(vertices, at(turns), head_pivot(rig))
    # Each material's primitive begins with the rig's own vertices, in order; vertices on a border are in several.
    still = turn_head(rig.vertices(torch.from_numpy(at(motion)[:1])).numpy(), at(turns)[:1], head_pivot(rig))[0]
    places, start, seen = cKDTree(still), 0, set()
    for count, own in zip(read["counts"], read["own"]):
        part = theirs[:, start : start + own]
        nearest = places.query(part[0])[1]
        assert 1000 * np.linalg.norm(ours[:, nearest] - part, axis=2).max() < 0.05
        seen.update(nearest.tolist())
        start += count
    assert len(seen) > 0.98 * len(rig.neutral)  # a few stand in the same place, or in no face
