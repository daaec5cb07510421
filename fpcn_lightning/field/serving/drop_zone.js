// Sends the chosen or dropped files one by one, so that one that is refused does not take the others along.
const PARALLEL = 2;

export default {
  props: { url: String, max_bytes: Number, max_files: Number },
  emits: ["refused", "finished"],
  template: `
    <label class="drop" :class="{ over }" @dragenter="over = true" @dragleave="over = false">
      <input ref="input" type="file" multiple accept="image/*,.heic,.heif,.tif,.tiff" aria-label="Choose photographs"
        aria-describedby="drop-hint" @change="choose">
      <b>Drop photographs here, or choose them</b>
      <span id="drop-hint">up to {{ max_files }} at a time, {{ Math.floor(max_bytes / 2 ** 20) }} MB each</span>
      <span role="status" style="display: block">
        <template v-if="total">{{ done < total ? "Classifying: " : "Classified: " }}{{ done }} of {{ total }}</template>
      </span>
      <progress v-if="done < total" :value="done" :max="total" aria-label="photographs classified"></progress>
    </label>
  `,
  data: () => ({ over: false, done: 0, total: 0, batch: 0, last: Promise.resolve() }),
  mounted() {
    // Without this, a file that misses the zone replaces the page.
    this.ignore = (event) => event.preventDefault();
    this.drop = (event) => {
      event.preventDefault();
      this.over = false;
      this.send(event.dataTransfer.files);
    };
    window.addEventListener("dragover", this.ignore);
    window.addEventListener("drop", this.drop);
  },
  unmounted() {
    window.removeEventListener("dragover", this.ignore);
    window.removeEventListener("drop", this.drop);
  },
  methods: {
    choose() {
      this.send(this.$refs.input.files);
      this.$refs.input.value = ""; // the same files can be chosen again
    },
    send(list) {
      const files = Array.from(list);
      if (files.length) this.last = this.last.then(() => this.sendBatch(files));
    },
    async sendBatch(files) {
      const chosen = files.slice(0, this.max_files);
      const batch = { number: ++this.batch, total: chosen.length, skipped: files.length - chosen.length };
      this.done = 0;
      this.total = chosen.length;
      const waiting = chosen.entries();
      const worker = async () => {
        for (const [index, file] of waiting) {
          const reason = await this.sendOne(file, { ...batch, index, name: file.name });
          if (reason !== null) this.$emit("refused", { ...batch, index, name: file.name, reason });
          this.done += 1;
        }
      };
      await Promise.all(Array.from({ length: PARALLEL }, worker));
      this.$emit("finished");
    },
    async sendOne(file, query) {
      if (file.size > this.max_bytes) {
        return `the file has ${Math.ceil(file.size / 2 ** 20)} MB, more than the ${Math.floor(this.max_bytes / 2 ** 20)} MB of this server`;
      }
      try {
        const address = `${window.path_prefix ?? ""}${this.url}?${new URLSearchParams(query)}`;
        const response = await fetch(address, { method: "POST", body: file });
        return response.ok ? null : await this.reason(response);
      } catch {
        return "the file or the server could not be reached; a folder cannot be sent";
      }
    },
    async reason(response) {
      const text = await response.text();
      try {
        return String(JSON.parse(text).detail);
      } catch {
        return text;
      }
    },
  },
};
