/** `node dist/test/bench/make-store.js STATE LAYERS ROOTS NAMES`: a synthetic store on the disk. */
import { writeSyntheticStore } from "../support/synthetic-store.js";

const [state = "", layers = "100000", roots = "10000", names = roots] = process.argv.slice(2);
writeSyntheticStore(state, { layers: Number(layers), roots: Number(roots), names: Number(names) });
