// Accepts files that are dropped anywhere on the page.

// Calls `receive` with the files of every drop, and highlights the page while they are dragged over it. Returns a function that stops this.
export function acceptFiles(receive) {
  const highlight = (over) => document.body.classList.toggle("over", over);
  const listeners = {
    dragover: (event) => {
      if (!hasFiles(event)) return; // for example text that is dragged into a field
      event.preventDefault();
      highlight(true);
    },
    dragleave: (event) => event.relatedTarget || highlight(false), // null: the pointer has left the window
    drop: (event) => {
      highlight(false);
      if (!hasFiles(event)) return;
      event.preventDefault(); // otherwise the browser would open the file
      receive([...event.dataTransfer.files]);
    },
  };
  for (const [name, listener] of Object.entries(listeners)) addEventListener(name, listener);
  return () => {
    for (const [name, listener] of Object.entries(listeners)) removeEventListener(name, listener);
  };
}

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
