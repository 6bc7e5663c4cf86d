/**
 * What only looks like a package, or like an image: an artifact with a layer that is no tar is neither, an image config stays one whatever
 * stands beside it, and of the platform only who lists a package can speak.
 */
import { layoutFiles } from "../../support/images.js";
import { OCX_PACKAGE } from "../../support/packages.js";
import { json, sha256, type TestImage } from "../../support/registry.js";
import {
  DOCKER_MANIFEST,
  type Edit,
  honest,
  inIndex,
  OCI_LAYER,
  withConfig,
  withDescriptor,
  withManifest,
} from "./images.js";
import { asArtifact, layered, oneWay, pack } from "./packages.js";
import { type Codes, type DocumentRow, no, yes } from "./row.js";
import { no as noScene, yes as yesScene } from "./scene-row.js";
import { type ImageScene, inFiles } from "./scenes.js";

const noTars = [
  "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
  "application/vnd.in-toto+json",
  "application/wasm",
  "application/x-tar",
  "application/gzip",
  `${OCI_LAYER}+bzip2`,
  `${OCI_LAYER}+gzip+encrypted`,
  `${OCI_LAYER}+GZIP`,
  `${OCI_LAYER}+gzip `,
  `${OCI_LAYER.toUpperCase()}`,
  "\x1b[2J\u202e",
  "",
];

const refused = (title: string, image: () => TestImage, codes: Codes = "NOT_AN_IMAGE"): DocumentRow[] =>
  no(title, codes, image, oneWay);

/** In the layout's own table of names. */
const listedFor =
  (platform: object): ((image: TestImage) => ReturnType<ImageScene>) =>
  (image) => {
    const files = layoutFiles([["app", image]]);
    const { manifests, ...index } = JSON.parse(String(files.get("index.json")));
    return inFiles(files.set("index.json", json({ ...index, manifests: [{ ...manifests[0], platform }] })));
  };

export const noPackages: DocumentRow[] = [
  ...no("a Helm chart with an artifactType", "NOT_AN_IMAGE", () =>
    withManifest(layered(noTars[0], 0), ({ layers: [chart], ...manifest }) => ({ ...manifest, layers: [chart] })),
  ),
  ...noTars.flatMap((type) =>
    [0, 1].flatMap((at) =>
      refused(`a package whose layer ${at} is of type ${JSON.stringify(type)}`, () => layered(type, at)),
    ),
  ),
  ...[undefined, null, 5, {}, [OCI_LAYER]].flatMap((type) =>
    refused(`a package with a layer of the type ${JSON.stringify(type)}`, () => layered(type)),
  ),
  ...refused("a package without layers", () => pack({ manifest: { layers: [] } })),
  ...refused("a package with null layers", () => pack({ manifest: { layers: null } })),
  ...[undefined, null, ""].flatMap((artifactType) =>
    refused(`tars and the artifactType ${JSON.stringify(artifactType)}`, () => pack({ manifest: { artifactType } })),
  ),
  ...[5, {}, [OCX_PACKAGE], "x".repeat(1025)].flatMap((artifactType) =>
    refused(
      `an artifactType that starts ${JSON.stringify(artifactType).slice(0, 8)}`,
      () => pack({ manifest: { artifactType } }),
      "MANIFEST_INVALID",
    ),
  ),
  ...refused(
    "an artifactType once more in another case",
    () => pack({ manifest: { ArtifactType: "a/b" } }),
    "MANIFEST_INVALID",
  ),
  ...no("a Docker plugin", "NOT_AN_IMAGE", () =>
    withManifest(honest(), ({ config, ...manifest }) => ({
      ...manifest,
      config: { ...config, mediaType: "application/vnd.docker.plugin.v1+json" },
    })),
  ),
  ...refused("Docker's manifest with an artifactType", () => {
    const image = pack({ manifest: { mediaType: DOCKER_MANIFEST } });
    return { ...image, descriptor: { ...image.descriptor, mediaType: DOCKER_MANIFEST } };
  }),
  ...refused("an artifact whose type is ESC", () => pack({ manifest: { artifactType: "\x1b[2J\u202e", layers: [] } })),

  ...yes("an image with an artifactType", () => withManifest(honest(), asArtifact)),
  ...no("an image with an artifactType and a wrong diffID", "DIFF_ID_MISMATCH", () =>
    withManifest(withConfig(honest(), wrongDiffId), asArtifact),
  ),
  ...no("an image with an artifactType and too few diffIDs", "LAYER_COUNT", () =>
    withManifest(
      withConfig(honest(), ({ rootfs, ...config }) => ({
        ...config,
        rootfs: { ...rootfs, diff_ids: rootfs.diff_ids.slice(1) },
      })),
      asArtifact,
    ),
  ),
  ...no("an image with an artifactType and a layer that is no tar", "MEDIA_TYPE_UNSUPPORTED", () =>
    withDescriptor(withManifest(honest(), asArtifact), "layer", (layer) => ({ ...layer, mediaType: "text/plain" })),
  ),
  ...no("OCX's config under the type of an image's", ["MANIFEST_INVALID", "ROOTFS_TYPE"], () =>
    pack({ configType: "application/vnd.oci.image.config.v1+json" }),
  ),

  ...no("an image for another platform that its index has for any", "NO_PLATFORM", () =>
    inIndex(
      withConfig(honest(), (config) => ({ ...config, architecture: "s390x" })),
      (descriptor) => ({ ...descriptor, platform: { os: "any", architecture: "any" } }),
    ),
  ),
  yesScene("a package that its layout lists for this platform (oci)", (ground) =>
    listedFor({ os: "linux", architecture: "amd64" })(pack())(ground),
  ),
  noScene("a package that its layout lists for another platform (oci)", "NO_PLATFORM", (ground) =>
    listedFor({ os: "linux", architecture: "s390x" })(pack())(ground),
  ),
  ...["\x1b[2J", "a/../b", "amd 64"].map((architecture) =>
    noScene(`a package that its layout lists for ${JSON.stringify(architecture)} (oci)`, "MANIFEST_INVALID", (ground) =>
      listedFor({ os: "linux", architecture })(pack())(ground),
    ),
  ),
];

const wrongDiffId: Edit = ({ rootfs, ...config }) => ({
  ...config,
  rootfs: { ...rootfs, diff_ids: [rootfs.diff_ids[0], sha256(Buffer.from("claimed"))] },
});
