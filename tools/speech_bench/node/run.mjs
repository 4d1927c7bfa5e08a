// SPDX-License-Identifier: GPL-3.0-or-later
// Runs one engine on recordings: `node run.mjs NODE_MODULES ENGINE < list`, a list of "NAME\tFILE" lines, FILE 16 kHz mono
// 16-bit PCM without a header. Answers with one JSON line a recording: {name, shapes: [[symbol, begin, end]...], seconds}.
// Engines: rhubarb (its cues), headaudio (its own audio processor, blocks of 128 samples as a worklet gets them), wawa (its
// own class polled every 20 ms; the browser's AnalyserNode is written out below after the Web Audio specification).
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, engine] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(path.join(modules, file)).href);
const RATE = 16000;

function floats(pcm) {
  const out = new Float32Array(pcm.length >> 1);
  for (let i = 0; i < out.length; i++) out[i] = pcm.readInt16LE(2 * i) / 32768;
  return out;
}

// A symbol for every 20 ms -> [[symbol, begin, end]...]
function runs(symbols) {
  const out = [];
  symbols.forEach((symbol, i) => {
    if (out.length && out.at(-1)[0] === symbol) out.at(-1)[2] = (i + 1) / 50;
    else out.push([symbol, i / 50, (i + 1) / 50]);
  });
  return out;
}

async function rhubarb() {
  const { Rhubarb } = await load('rhubarb-lip-sync-wasm/dist/index.js');
  return async (pcm) => (await Rhubarb.getLipSync(pcm)).mouthCues.map((cue) => [cue.value, cue.start, cue.end]);
}

async function headaudio() {
  const folder = '@met4citizen/headaudio/';
  const parameters = await load(folder + 'modules/parameters.mjs');
  const { Processor } = await load(folder + 'modules/processor.mjs');
  const { Training } = await load(folder + 'modules/training.mjs');
  const file = fs.readFileSync(path.join(modules, folder, 'dist/model-en-mixed.bin'));
  const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.length);
  const training = new Training();
  const model = [];
  for (let at = 0; at + parameters.RECORD_OFFSET <= bytes.byteLength; at += parameters.RECORD_OFFSET) {
    model.push(training.decodeBinaryRecord(new Float32Array(bytes, at, parameters.RECORD_LEN)));
  }
  const names = ['aa', 'E', 'I', 'O', 'U', 'PP', 'SS', 'TH', 'DD', 'FF', 'kk', 'nn', 'RR', 'CH', 'sil'];
  return async (pcm) => {
    const events = [];
    const options = { sampleRate: RATE, processorOptions: {}, parameterData: {} };
    const processor = new Processor(options, { port: { postMessage: (message) => events.push(message) } });
    processor._onmessage({ data: { event: 'model', model } });
    const samples = floats(pcm);
    for (let i = 0; i < samples.length; i += 128) processor.process(samples.subarray(i, i + 128));
    const turns = events.filter((e) => e.event === 'viseme' || e.event === 'ended');
    const symbols = [];
    let now = 'sil', next = 0;
    for (let i = 0; i < Math.ceil(samples.length / RATE * 50); i++) {
      for (; next < turns.length && turns[next].t <= (i + 0.5) / 50; next++) {
        now = turns[next].event === 'ended' ? 'sil' : names[turns[next].viseme] ?? 'sil';
      }
      symbols.push(now);
    }
    return runs(symbols);
  };
}

function fourier(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) { [re[i], re[j]] = [re[j], re[i]]; [im[i], im[j]] = [im[j], im[i]]; }
  }
  for (let length = 2; length <= n; length <<= 1) {
    for (let k = 0; k < length / 2; k++) {
      const c = Math.cos(-2 * Math.PI * k / length), s = Math.sin(-2 * Math.PI * k / length);
      for (let i = k; i < n; i += length) {
        const j = i + length / 2, x = re[j] * c - im[j] * s, y = re[j] * s + im[j] * c;
        re[j] = re[i] - x; im[j] = im[i] - y; re[i] += x; im[i] += y;
      }
    }
  }
}

class Analyser {  // Web Audio 1.0 §1.8: Blackman window, smoothing over time 0.8, -100 to -30 dB as bytes
  fftSize = 2048;
  get frequencyBinCount() { return this.fftSize / 2; }
  connect() {}
  getByteFrequencyData(out) {
    const n = this.fftSize, re = new Float64Array(n), im = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      const at = this.position - n + i, x = 2 * Math.PI * i / n;
      re[i] = (at >= 0 && at < this.source.length ? this.source[at] : 0) * (0.42 - 0.5 * Math.cos(x) + 0.08 * Math.cos(2 * x));
    }
    fourier(re, im);
    this.smooth ??= new Float64Array(n / 2);
    for (let i = 0; i < n / 2; i++) {
      this.smooth[i] = 0.8 * this.smooth[i] + 0.2 * Math.hypot(re[i], im[i]) / n;
      const decibel = 20 * Math.log10(this.smooth[i] + 1e-20);
      out[i] = Math.max(0, Math.min(255, Math.floor(255 * (decibel + 100) / 70)));
    }
  }
}

async function wawa() {
  const rate = 44100;
  let analyser, clock = 0;
  globalThis.window = { AudioContext: class { sampleRate = rate; createAnalyser() { return (analyser = new Analyser()); } } };
  globalThis.performance = { now: () => clock };
  const { Lipsync } = await load('wawa-lipsync/dist/wawa-lipsync.es.js');
  return async (pcm) => {
    const engine = new Lipsync(), samples = floats(pcm), symbols = [];
    const source = new Float32Array(Math.floor(samples.length * rate / RATE));
    for (let i = 0; i < source.length; i++) {
      const x = i * RATE / rate, k = Math.floor(x);
      source[i] = samples[k] + ((samples[k + 1] ?? 0) - samples[k]) * (x - k);
    }
    analyser.source = source;
    clock = 0;
    for (let i = 0; i < Math.ceil(samples.length / RATE * 50); i++) {
      clock = i * 20;
      analyser.position = Math.round((i + 1) * 0.02 * rate);
      engine.processAudio();
      symbols.push(engine.viseme.replace('viseme_', ''));
    }
    return runs(symbols);
  };
}

const quiet = console.log;
console.log = console.warn = () => {};
const answer = await { rhubarb, headaudio, wawa }[engine]();
for (const line of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const [name, file] = line.split('\t');
  const pcm = fs.readFileSync(file), started = process.hrtime.bigint();
  const shapes = await answer(pcm);
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  process.stdout.write(JSON.stringify({ name, shapes, seconds }) + '\n');
}
