// Files that are dropped anywhere on the page, as from a folder.

// Calls `take` with the files of every drop, and marks the page while they hover above it; returns how to stop.
export function acceptFiles(take) {
  const mark = (over) => document.body.classList.toggle("over", over);
  const listeners = {
    dragover: (event) => {
      if (!bringsFiles(event)) return; // text that is dragged into a field
      event.preventDefault();
      mark(true);
    },
    dragleave: (event) => event.relatedTarget || mark(false), // null: it has left the window
    drop: (event) => {
      mark(false);
      if (!bringsFiles(event)) return;
      event.preventDefault(); // else the browser would open the file
      take([...event.dataTransfer.files]);
    },
  };
  for (const [name, listener] of Object.entries(listeners)) addEventListener(name, listener);
  return () => {
    for (const [name, listener] of Object.entries(listeners)) removeEventListener(name, listener);
  };
}

const bringsFiles = (event) => event.dataTransfer?.types.includes("Files");
