/**
 * zstd frames of which a test controls every byte (RFC 8878), with raw and run-length blocks only: nothing is compressed.
 */
const MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const MAX_BLOCK_BYTES = 128 * 1024;

/** `window` is the Window_Descriptor byte: 0x50 is 1 MiB, 0x88 is 128 MiB. */
export function frame(content: Buffer, { window = 0x50 }: { readonly window?: number } = {}): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at === 0 || at < content.length; at += MAX_BLOCK_BYTES) {
    const piece = content.subarray(at, at + MAX_BLOCK_BYTES);
    blocks.push(blockHeader(piece.length, 0, at + MAX_BLOCK_BYTES >= content.length), piece);
  }
  return Buffer.concat([MAGIC, Buffer.from([0, window]), ...blocks]);
}

/** `blocks` blocks of 128 KiB zeros, four bytes each. */
export function zeros(blocks: number): Buffer {
  const each = Array.from({ length: blocks }, (_, i) =>
    Buffer.concat([blockHeader(MAX_BLOCK_BYTES, 1, i === blocks - 1), Buffer.alloc(1)]),
  );
  return Buffer.concat([MAGIC, Buffer.from([0, 0x50]), ...each]);
}

export function skippable(content: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a53, 0);
  head.writeUInt32LE(content.length, 4);
  return Buffer.concat([head, content]);
}

/** A frame whose window is its content, by the eight bytes that say how large that is. */
export function singleSegment(contentBytes: bigint): Buffer {
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(contentBytes);
  return Buffer.concat([MAGIC, Buffer.from([0xe0]), size, blockHeader(0, 0, true)]);
}

function blockHeader(bytes: number, type: 0 | 1 | 3, last: boolean): Buffer {
  const header = Buffer.alloc(3);
  header.writeUIntLE(bytes * 8 + type * 2 + (last ? 1 : 0), 0, 3);
  return header;
}
