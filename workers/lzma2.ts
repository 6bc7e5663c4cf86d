/**
 * LZMA2: the chunks of an xz block, decoded one by one into a dictionary of a given size. A chunk is at most 64 KiB in and 2 MiB
 * out, so each is decoded at once, from memory.
 *
 * The format is that of the LZMA SDK's specification (lzma-specification.txt) with LZMA2's chunks around it, as xz-file-format.txt
 * 5.3.1 names it. Pure: knows no xz. What is wrong is a plain Error.
 */
import { RangeDecoder } from "./range-decoder.js";

const STATES = 12;
const POS_STATES = 16;
/** In these states the last thing was a literal. */
const LITERAL_STATES = 7;
const LEN_STATES = 4;
const MIN_MATCH = 2;
const END_POS_MODEL = 14;
const DISTANCE_MODELS = 1 + 128 - END_POS_MODEL;
const LITERAL_MODELS = 0x300;
/** LZMA2 allows no more literal context and position bits than this. */
const MAX_LITERAL_BITS = 4;

/** Where each group of probabilities starts in the one array. */
const LEN_MODELS = 2 + POS_STATES * 8 * 2 + 256;
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POS_STATES;
const IS_REP_G0 = IS_REP + STATES;
const IS_REP_G1 = IS_REP_G0 + STATES;
const IS_REP_G2 = IS_REP_G1 + STATES;
const IS_REP0_LONG = IS_REP_G2 + STATES;
const POS_SLOT = IS_REP0_LONG + STATES * POS_STATES;
const POS_SPECIAL = POS_SLOT + LEN_STATES * 64;
const ALIGN = POS_SPECIAL + DISTANCE_MODELS;
const LEN = ALIGN + 16;
const REP_LEN = LEN + LEN_MODELS;
const LITERAL = REP_LEN + LEN_MODELS;

export class Lzma2 {
  #dictionary = new Uint8Array(0);
  /** As much of it as the block has said. */
  #size = 0;
  /** Where the next byte goes. */
  #at = 0;
  /** Bytes of the dictionary that a distance may reach. */
  #filled = 0;
  readonly #range = new RangeDecoder(LITERAL + (LITERAL_MODELS << MAX_LITERAL_BITS));
  #literalContextBits = 0;
  #literalPosMask = 0;
  #posMask = 0;
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  #needsDictionaryReset = true;
  #needsProperties = true;

  /** Bytes of a chunk's header by its control byte; 1 for the end. */
  static headerBytes(control: number): number {
    if (control === 0) return 1;
    if (control < 0x80) return 3;
    return control >= 0xc0 ? 6 : 5;
  }

  /** Bytes of data behind the header. */
  static dataBytes(header: Buffer): number {
    const control = header[0] as number;
    if (control === 0) return 0;
    return (control < 0x80 ? header.readUInt16BE(1) : header.readUInt16BE(3)) + 1;
  }

  /** A block knows nothing of the one before it. */
  startBlock(dictionaryBytes: number): void {
    if (dictionaryBytes > this.#dictionary.length) this.#dictionary = new Uint8Array(dictionaryBytes);
    this.#size = dictionaryBytes;
    this.#needsDictionaryReset = true;
    this.#needsProperties = true;
  }

  /** The content of one chunk. Throws where header or data are no LZMA2. */
  chunk(header: Buffer, data: Uint8Array): Buffer {
    const control = header[0] as number;
    if (control >= 0xe0 || control === 1) {
      this.#needsDictionaryReset = false;
      this.#at = 0;
      this.#filled = 0;
      if (control === 1) this.#needsProperties = true;
    } else if (this.#needsDictionaryReset) throw new Error("a first chunk that keeps the dictionary");
    if (control < 0x80) {
      if (control > 2) throw new Error("an unknown chunk");
      return this.#copied(data);
    }
    if (control >= 0xc0) this.#setProperties(header[5] as number);
    else if (this.#needsProperties) throw new Error("a first chunk without properties");
    if (control >= 0xa0) this.#resetState();
    return this.#decode(data, ((control & 0x1f) << 16) + header.readUInt16BE(1) + 1);
  }

  #setProperties(properties: number): void {
    if (properties >= 9 * 5 * 5) throw new Error("properties out of range");
    const literalContextBits = properties % 9;
    const rest = Math.floor(properties / 9);
    const literalPosBits = rest % 5;
    if (literalContextBits + literalPosBits > MAX_LITERAL_BITS) throw new Error("too many literal bits");
    this.#literalContextBits = literalContextBits;
    this.#literalPosMask = (1 << literalPosBits) - 1;
    this.#posMask = (1 << Math.floor(rest / 5)) - 1;
    this.#needsProperties = false;
  }

  #resetState(): void {
    this.#range.forget();
    this.#state = 0;
    this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
  }

  #copied(data: Uint8Array): Buffer {
    for (const byte of data) this.#put(byte);
    return Buffer.from(data);
  }

  #decode(data: Uint8Array, bytes: number): Buffer {
    const out = Buffer.allocUnsafeSlow(bytes);
    this.#range.start(data);
    let done = 0;
    while (done < bytes) done = this.#symbol(out, done);
    this.#range.finish();
    return out;
  }

  /** One literal or match; returns how much of `out` is filled then. */
  #symbol(out: Buffer, done: number): number {
    const posState = this.#at & this.#posMask;
    if (this.#range.bit(IS_MATCH + this.#state * POS_STATES + posState) === 0) {
      const byte = this.#literal();
      this.#put(byte);
      out[done] = byte;
      return done + 1;
    }
    let length: number;
    if (this.#range.bit(IS_REP + this.#state) === 0) {
      [this.#rep3, this.#rep2, this.#rep1] = [this.#rep2, this.#rep1, this.#rep0];
      length = this.#length(LEN, posState);
      this.#state = this.#state < LITERAL_STATES ? 7 : 10;
      this.#rep0 = this.#distance(length);
    } else if (this.#range.bit(IS_REP_G0 + this.#state) === 0) {
      if (this.#range.bit(IS_REP0_LONG + this.#state * POS_STATES + posState) === 0) {
        this.#state = this.#state < LITERAL_STATES ? 9 : 11;
        return this.#repeat(out, done, 1);
      }
      length = this.#repeatedLength(posState);
    } else {
      this.#swapDistance();
      length = this.#repeatedLength(posState);
    }
    return this.#repeat(out, done, length);
  }

  #swapDistance(): void {
    let distance: number;
    if (this.#range.bit(IS_REP_G1 + this.#state) === 0) distance = this.#rep1;
    else {
      if (this.#range.bit(IS_REP_G2 + this.#state) === 0) distance = this.#rep2;
      else {
        distance = this.#rep3;
        this.#rep3 = this.#rep2;
      }
      this.#rep2 = this.#rep1;
    }
    this.#rep1 = this.#rep0;
    this.#rep0 = distance;
  }

  #repeatedLength(posState: number): number {
    const length = this.#length(REP_LEN, posState);
    this.#state = this.#state < LITERAL_STATES ? 8 : 11;
    return length;
  }

  #repeat(out: Buffer, done: number, length: number): number {
    if (this.#rep0 >= this.#filled) throw new Error("a distance beyond what there is");
    if (length > out.length - done) throw new Error("a match beyond its chunk");
    const size = this.#size;
    let from = this.#at - this.#rep0 - 1;
    if (from < 0) from += size;
    for (let i = 0; i < length; i += 1) {
      const byte = this.#dictionary[from] as number;
      from = from + 1 === size ? 0 : from + 1;
      this.#put(byte);
      out[done + i] = byte;
    }
    return done + length;
  }

  #put(byte: number): void {
    this.#dictionary[this.#at] = byte;
    this.#at = this.#at + 1 === this.#size ? 0 : this.#at + 1;
    if (this.#filled < this.#size) this.#filled += 1;
  }

  #byteAt(distance: number): number {
    if (distance >= this.#filled) return 0;
    const at = this.#at - distance - 1;
    return this.#dictionary[at < 0 ? at + this.#size : at] as number;
  }

  #literal(): number {
    const context =
      ((this.#at & this.#literalPosMask) << this.#literalContextBits) +
      (this.#byteAt(0) >> (8 - this.#literalContextBits));
    const models = LITERAL + LITERAL_MODELS * context;
    let symbol = 1;
    if (this.#state >= LITERAL_STATES) {
      let match = this.#byteAt(this.#rep0);
      while (symbol < 0x100) {
        const matchBit = (match >> 7) & 1;
        match <<= 1;
        const bit = this.#range.bit(models + ((1 + matchBit) << 8) + symbol);
        symbol = (symbol << 1) | bit;
        if (bit !== matchBit) break;
      }
    }
    while (symbol < 0x100) symbol = (symbol << 1) | this.#range.bit(models + symbol);
    this.#state = this.#state < 4 ? 0 : this.#state < 10 ? this.#state - 3 : this.#state - 6;
    return symbol & 0xff;
  }

  #length(models: number, posState: number): number {
    if (this.#range.bit(models) === 0) return MIN_MATCH + this.#range.tree(models + 2 + posState * 8, 3);
    if (this.#range.bit(models + 1) === 0)
      return MIN_MATCH + 8 + this.#range.tree(models + 2 + (POS_STATES + posState) * 8, 3);
    return MIN_MATCH + 16 + this.#range.tree(models + 2 + 2 * POS_STATES * 8, 8);
  }

  #distance(length: number): number {
    const lengthState = Math.min(length - MIN_MATCH, LEN_STATES - 1);
    const slot = this.#range.tree(POS_SLOT + lengthState * 64, 6);
    if (slot < 4) return slot;
    const directBits = (slot >> 1) - 1;
    const distance = (2 | (slot & 1)) * 2 ** directBits;
    if (slot < END_POS_MODEL) return distance + this.#range.reverseTree(POS_SPECIAL + distance - slot, directBits);
    return distance + this.#range.directBits(directBits - 4) * 16 + this.#range.reverseTree(ALIGN, 4);
  }
}
