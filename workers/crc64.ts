/** CRC-64 of ECMA-182, reflected, as xz has it (xz-file-format.txt 6): in two halves, for numbers end at 53 bits. */

const LOW = new Uint32Array(256);
const HIGH = new Uint32Array(256);
const POLYNOMIAL = { high: 0xc96c5795, low: 0xd7870f42 } as const;

for (let byte = 0; byte < 256; byte += 1) {
  let [high, low] = [0, byte];
  for (let bit = 0; bit < 8; bit += 1) {
    const carry = low & 1;
    low = (low >>> 1) | (high << 31);
    high >>>= 1;
    if (carry === 1) {
      low ^= POLYNOMIAL.low;
      high ^= POLYNOMIAL.high;
    }
  }
  LOW[byte] = low;
  HIGH[byte] = high;
}

/** `digest` is little-endian. */
export function crc64(): { update(bytes: Buffer): void; digest(): Buffer } {
  let [high, low] = [-1, -1];
  return {
    update(bytes) {
      for (let i = 0; i < bytes.length; i += 1) {
        const index = (low ^ (bytes[i] as number)) & 0xff;
        low = (LOW[index] as number) ^ ((low >>> 8) | (high << 24));
        high = (HIGH[index] as number) ^ (high >>> 8);
      }
    },
    digest() {
      const sum = Buffer.alloc(8);
      sum.writeUInt32LE(~low >>> 0, 0);
      sum.writeUInt32LE(~high >>> 0, 4);
      return sum;
    },
  };
}
