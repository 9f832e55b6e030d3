#!/usr/bin/env bash
# Bundles the parts of three.js (MIT) that the viewer page uses into one file that works offline.
# Needs node and npm. Writes deeptalk/export/assets/three.min.js; run again only to move to another release.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-fund --no-audit three@0.187.0 esbuild@0.25
cat > entry.js <<'JS'
export {
  AmbientLight, BufferAttribute, BufferGeometry, Color, DirectionalLight, HemisphereLight, Mesh, MeshPhysicalMaterial,
  MeshStandardMaterial, PerspectiveCamera, Scene, SRGBColorSpace, Vector3, WebGLRenderer,
} from "three";
JS
npx esbuild entry.js --bundle --minify --format=iife --global-name=THREE --legal-comments=inline \
  --outfile="$here/deeptalk/export/assets/three.min.js"
cp node_modules/three/LICENSE "$here/deeptalk/export/assets/three.LICENSE"
