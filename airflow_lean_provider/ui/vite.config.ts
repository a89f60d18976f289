import { defineConfig } from "vite";

// What Airflow's own page has put into globalThis, so that there is one React and one theme.
const HOST = {
  react: "React",
  "react-dom": "ReactDOM",
  "react/jsx-runtime": "ReactJSXRuntime",
  "react-router-dom": "ReactRouterDOM",
  "@chakra-ui/react": "ChakraUI",
};

export default defineConfig({
  define: { "process.env.NODE_ENV": JSON.stringify("production") },
  esbuild: { jsx: "automatic", jsxDev: false },
  build: {
    target: "es2022",
    lib: { entry: "src/main.tsx", formats: ["iife"], name: "AndonPages", fileName: () => "main.js" },
    rollupOptions: { external: Object.keys(HOST), output: { globals: HOST } },
  },
});
