#!/usr/bin/env bash
# Bundles the parts of three.js (MIT) that the viewer page uses into one file that works offline, and its glTF reader
# for the tests. Needs node and npm. Writes deeptalk/export/assets/three.min.js and tests/assets/three_gltf.min.js; run
# again only to move to another release.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-fund --no-audit three@0.187.0 esbuild@0.25
cat > entry.js <<'JS'
export {
  BufferAttribute, BufferGeometry, DirectionalLight, DoubleSide, Group, HemisphereLight, Mesh, MeshStandardMaterial,
  PerspectiveCamera, Scene, SRGBColorSpace, Texture, WebGLRenderer,
} from "three";
JS
npx esbuild entry.js --bundle --minify --format=iife --global-name=THREE --legal-comments=inline \
  --outfile="$here/deeptalk/export/assets/three.min.js"
cat > gltf.js <<'JS'
export { AnimationMixer, LoopOnce, Vector3 } from "three";
export { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
JS
npx esbuild gltf.js --bundle --minify --format=iife --global-name=THREE --legal-comments=inline \
  --outfile="$here/tests/assets/three_gltf.min.js"
cp node_modules/three/LICENSE "$here/tests/assets/three.LICENSE"
cp node_modules/three/LICENSE "$here/deeptalk/export/assets/three.LICENSE"
