/**
 * Where a registry is asked: https, but for loopback and for hosts that the configuration names. Never by fallback.
 */

/** Docker Hub's registry stands at another host than its name. */
export function registryUrl(registry: string, insecureHosts: readonly string[]): URL {
  const host = registry === "docker.io" ? "registry-1.docker.io" : registry;
  return new URL(`${isPlainHost(host, insecureHosts) ? "http" : "https"}://${host}/v2/`);
}

/** `host` with or without a port; a configured host without one covers each of its ports. */
export function isPlainHost(host: string, insecureHosts: readonly string[]): boolean {
  const bare = host.replace(/:\d+$/, "");
  return isLoopback(bare) || insecureHosts.includes(host) || insecureHosts.includes(bare);
}

function isLoopback(bare: string): boolean {
  return bare === "localhost" || bare === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(bare);
}
